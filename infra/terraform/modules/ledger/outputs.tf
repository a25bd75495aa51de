output "ledger_table_arn" {
  description = "For the module service, and for the setting ledger.table."
  value       = aws_dynamodb_table.ledger.arn
}
