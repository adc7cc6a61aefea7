#!/bin/sh
# What an instance of a cluster on AWS does when it starts: fetch settings, secret and bootstrap.sh
# from the cluster's bucket and from the Systems Manager, and run bootstrap.sh. The user data has
# set POMONA_CLUSTER, POMONA_ROLE, POMONA_BUCKET and AWS_DEFAULT_REGION.
set -eu
umask 077

ETC=/etc/pomona
FROM=s3://$POMONA_BUCKET/cluster
PATIENCE=${POMONA_PATIENCE:-900}

fail() {
    printf 'pomona: %s\n' "$*" >&2
    exit 1
}

fetch() {
    aws s3 cp --only-show-errors "$FROM/$1" "$2" || fail "Cannot fetch $FROM/$1."
}

parameter() {
    aws ssm get-parameter --name "/pomona/$POMONA_CLUSTER/$1" --with-decryption \
        --query Parameter.Value --output text
}

# The master tells its address; a worker waits for it.
find_master() {
    if [ "$POMONA_ROLE" = master ]; then
        address=$(ip -o route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/\1/p')
        [ -n "$address" ] || fail "This host has no address."
        aws ssm put-parameter --name "/pomona/$POMONA_CLUSTER/master" --type String --overwrite \
            --value "$address" >/dev/null || fail "Cannot tell the address of the master."
        return
    fi
    waited=0
    until address=$(parameter master 2>/dev/null); do
        [ "$waited" -lt "$PATIENCE" ] || fail "No master has told its address for $PATIENCE s."
        sleep 5
        waited=$((waited + 5))
    done
}

mkdir -p "$ETC"
fetch release.env "$ETC/release.env"
fetch bootstrap.sh "$ETC/bootstrap.sh"
parameter secret >"$ETC/secret.new" || fail "Cannot fetch the secret."
mv "$ETC/secret.new" "$ETC/secret"
find_master
{
    cat "$ETC/release.env"
    echo "POMONA_ROLE=$POMONA_ROLE"
    echo "POMONA_CLUSTER=$POMONA_CLUSTER"
    echo "POMONA_MASTER_HOST=$address"
} >"$ETC/cluster.env"
chmod 755 "$ETC"
chmod 644 "$ETC/cluster.env"
exec sh "$ETC/bootstrap.sh" "$ETC/cluster.env"
