#!/usr/bin/env bash
# Runs the mail example as a project of its own and cleans up. MAILS=50 and SMTP_REFUSE_SECONDS=2 can be set.
set -euo pipefail
cd "$(dirname "$0")/../.."
compose=(docker compose --ansi never --project-name "${PROJECT:-taskyard-mail}" --file compose.yaml --file examples/mail/compose.yaml)
trap '"${compose[@]}" down --volumes --remove-orphans >/dev/null 2>&1' EXIT
"${compose[@]}" build --quiet
"${compose[@]}" up --exit-code-from job --no-attach master --no-attach worker --scale worker=3
