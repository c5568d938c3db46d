#!/bin/sh
# Starts Alertmanager with the webhook as the receiver if it is set, else with none.
set -eu
receiver=nobody
if [ -s "$ALERTS_WEBHOOK_URL_FILE" ]; then receiver=webhook; fi
sed "s/receiver: webhook/receiver: $receiver/" /etc/alertmanager/alertmanager.yaml > /tmp/alertmanager.yaml
# Debian uses another name.
exec "$(command -v alertmanager || command -v prometheus-alertmanager)" --config.file=/tmp/alertmanager.yaml "$@"
