#!/bin/sh
# Alertmanager, which tells the webhook where there is one, and else nobody.
set -eu
receiver=nobody
if [ -s "$ALERTS_WEBHOOK_URL_FILE" ]; then receiver=webhook; fi
sed "s/receiver: webhook/receiver: $receiver/" /etc/alertmanager/alertmanager.yaml > /tmp/alertmanager.yaml
# Debian calls it otherwise.
exec "$(command -v alertmanager || command -v prometheus-alertmanager)" --config.file=/tmp/alertmanager.yaml "$@"
