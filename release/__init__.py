"""What a release needs: `make release-prepare VERSION=…` writes it, `make release-check` checks it."""
