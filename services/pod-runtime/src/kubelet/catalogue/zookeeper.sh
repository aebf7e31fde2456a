set -e
if [ ! -e '{home}/zoo.cfg' ]; then
    printf 'dataDir={data}\nclientPort=2181\nclientPortAddress={bind}\ntickTime=2000\nadmin.enableServer=false\n' >'{home}/zoo.cfg'
fi
export ZOO_LOG_DIR='{home}'
exec "$0" start-foreground '{home}/zoo.cfg'
