set -e
export HOME='{data}'
export RABBITMQ_MNESIA_BASE="${RABBITMQ_MNESIA_BASE:-{data}/mnesia}"
export RABBITMQ_LOGS="${RABBITMQ_LOGS:--}"
export RABBITMQ_PID_FILE='{home}/rabbitmq.pid'
export RABBITMQ_ENABLED_PLUGINS_FILE="${RABBITMQ_ENABLED_PLUGINS_FILE:-{data}/enabled_plugins}"
export RABBITMQ_NODE_IP_ADDRESS='{bind}'
exec "$0" "$@"
