set -e
user=$(id -un)
if [ ! -d '{data}/mysql' ]; then
    mariadb-install-db --no-defaults --user="$user" --datadir='{data}' --auth-root-authentication-method=normal >&2
fi
exec "$0" --no-defaults --user="$user" --datadir='{data}' --bind-address='{bind}' --socket='{home}/mysqld.sock' --pid-file='{home}/mysqld.pid' "$@"
