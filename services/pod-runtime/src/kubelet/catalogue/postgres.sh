set -e
data="${PGDATA:-{data}}"
if [ ! -s "$data/PG_VERSION" ]; then
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        echo 'Error: Database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD.' >&2
        exit 1
    fi
    mkdir -p "$data"
    chmod 0700 "$data"
    (umask 077; printf '%s\n' "${POSTGRES_PASSWORD:-none}" >'{home}/password')
    method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
    "${0%/*}/initdb" -D "$data" -U "${POSTGRES_USER:-postgres}" --pwfile='{home}/password' --auth-local=trust --auth-host="$method" >&2
    rm -f '{home}/password'
    printf 'host all all all %s\n' "$method" >>"$data/pg_hba.conf"
fi
exec "$0" -D "$data" -c listen_addresses='{bind}' -c unix_socket_directories='{home}' "$@"
