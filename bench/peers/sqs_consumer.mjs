// A consumer with sqs-consumer and version 3 of the AWS SDK: ten messages at a time, their log files read concurrently.
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const WRITES = new Set([
  "PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject", "DeleteObjects", "RestoreObject",
]);
const CONSUMERS = 8;

const [endpoint, queueUrl] = process.argv.slice(2);
const decompress = promisify(gunzip);
const s3 = new S3Client({ endpoint, forcePathStyle: true });
const sqs = new SQSClient({ endpoint });
let events = 0;

async function read(message) {
  const notice = JSON.parse(JSON.parse(message.Body).Message);
  for (const Key of notice.s3ObjectKey) {
    const answer = await s3.send(new GetObjectCommand({ Bucket: notice.s3Bucket, Key }));
    const text = await decompress(await answer.Body.transformToByteArray());
    const found = [];
    for (const record of JSON.parse(text.toString()).Records) {
      if (record.eventSource === "s3.amazonaws.com" && WRITES.has(record.eventName) && !record.errorCode) {
        found.push([record.eventName, record.requestParameters.bucketName, record.requestParameters.key]);
      }
    }
    events += found.length;
  }
}

async function handleMessageBatch(messages) {
  await Promise.all(messages.map(read));
  return messages;
}

for (let number = 0; number < CONSUMERS; number += 1) {
  const consumer = Consumer.create({ queueUrl, sqs, batchSize: 10, waitTimeSeconds: 20, handleMessageBatch });
  consumer.on("error", (error) => console.error(error.message));
  consumer.on("processing_error", (error) => console.error(error.message));
  consumer.start();
}

process.on("SIGTERM", () => {
  process.stdout.write(`${events}\n`, () => process.exit(0));
});
