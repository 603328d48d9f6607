#!/bin/sh
# Starts JOG in a container; with LITESTREAM_REPLICA_URL replicated by Litestream.
#
# LITESTREAM_REPLICA_URL  such as s3://backup-bucket/jog/metadata or file:///backup/metadata
# LITESTREAM_ENDPOINT     where that bucket is, if not on AWS: http://minio:9000
set -e

# Other commands than the server, such as `docker compose exec` has no need of:
# docker run IMAGE jog version
if [ $# -gt 0 ]; then
    exec "$@"
fi

if [ -z "$LITESTREAM_REPLICA_URL" ]; then
    exec jog server
fi

# Only where nothing is: at a second start the database is there, and newer than its replica.
litestream restore -config /etc/litestream.yml -if-db-not-exists -if-replica-exists \
    "$JOG_DATA_DIR/metadata.db"
exec litestream replicate -config /etc/litestream.yml -exec "jog server"
