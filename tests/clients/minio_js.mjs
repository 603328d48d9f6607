// MinIO's client for JavaScript against a server: node minio_js.mjs, run by test_minio_js.py from a
// directory that has the modules. Prints what it did as JSON; fails at the first thing amiss.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import * as minio from "minio";

const MIB = 1 << 20;
const KEYS = ["日本語/ü ñ+%&.txt", "with space", "plus+sign", "a", "a/b", "hash#question?"];
const bucket = process.env.BUCKET;
const url = new URL(process.env.AWS_ENDPOINT_URL);
const client = new minio.Client({
  endPoint: url.hostname,
  port: Number(url.port),
  useSSL: url.protocol === "https:",
  accessKey: process.env.AWS_ACCESS_KEY_ID,
  secretKey: process.env.AWS_SECRET_ACCESS_KEY,
  partSize: 5 * MIB,
});

/** Bytes that look random and are the same in every run. */
function payload(size, seed) {
  const blocks = [];
  for (let made = 0; made < size; made += 32) {
    blocks.push(createHash("sha256").update(`${seed}/${made}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, size);
}

async function all(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

async function holds(key, wanted) {
  assert.ok(Buffer.concat(await all(await client.getObject(bucket, key))).equals(wanted), key);
}

// Objects: what is put is read, described, listed and deleted.
await client.makeBucket(bucket);
assert.equal(await client.bucketExists(bucket), true);
assert.equal(await client.bucketExists(`${bucket}-not`), false);
for (const key of KEYS) {
  await client.putObject(bucket, key, payload(1000, key), 1000, { colour: "blue" });
  await holds(key, payload(1000, key));
  const stat = await client.statObject(bucket, key);
  assert.deepEqual([stat.size, stat.metaData.colour], [1000, "blue"]);
}
const part = await client.getPartialObject(bucket, "a", 5, 10);
assert.ok(Buffer.concat(await all(part)).equals(payload(1000, "a").subarray(5, 15)));
const found = (await all(client.listObjectsV2(bucket, "", true))).map((entry) => entry.name);
assert.deepEqual([...found].sort(), [...KEYS].sort());
await assert.rejects(client.statObject(bucket, "not"), { code: "NotFound" });
await assert.rejects(client.getObject(bucket, "not"), { code: "NoSuchKey" });

// A stream whose length nobody knows, two of it put together, and an upload that is given up.
const big = payload(12 * MIB + 11, "big");
await client.putObject(bucket, "big", Readable.from([big.subarray(0, 7), big.subarray(7)]));
await holds("big", big);
const twice = [1, 2].map(() => new minio.CopySourceOptions({ Bucket: bucket, Object: "big" }));
const target = new minio.CopyDestinationOptions({ Bucket: bucket, Object: "composed" });
await client.composeObject(target, twice);
await holds("composed", Buffer.concat([big, big]));
await client.initiateNewMultipartUpload(bucket, "given up", {});
const pending = async () => (await all(client.listIncompleteUploads(bucket, "", true))).length;
assert.equal(await pending(), 1);
await client.removeIncompleteUpload(bucket, "given up");
assert.equal(await pending(), 0);

// URLs and forms for those who have no key.
const put = await client.presignedPutObject(bucket, KEYS[0], 60);
assert.equal((await fetch(put, { method: "PUT", body: big })).status, 200);
const got = await fetch(await client.presignedGetObject(bucket, KEYS[0], 60));
assert.ok(Buffer.from(await got.arrayBuffer()).equals(big));
const policy = client.newPostPolicy();
policy.setBucket(bucket);
policy.setKey("form");
policy.setExpires(new Date(Date.now() + 60_000));
policy.setContentLengthRange(1, 10);
const { postURL, formData } = await client.presignedPostPolicy(policy);
for (const [text, status] of [["01234567890", 400], ["0123456789", 204]]) {
  const form = new FormData();
  for (const [name, value] of Object.entries(formData)) form.append(name, value);
  form.append("file", new Blob([text]), "name");
  assert.equal((await fetch(postURL, { method: "POST", body: form })).status, status);
}
await holds("form", Buffer.from("0123456789"));

// A bucket's configurations come back as they were sent. It takes no 204 for a bucket's tags,
// which AWS answers.
await client.setObjectTagging(bucket, "a", { team: "nas" });
assert.deepEqual(await client.getObjectTagging(bucket, "a"), [{ Key: "team", Value: "nas" }]);
await client.setBucketVersioning(bucket, { Status: "Enabled" });
assert.equal((await client.getBucketVersioning(bucket)).Status, "Enabled");
await client.putObject(bucket, "a", "again");
await client.removeObject(bucket, "a");
const versions = await all(client.listObjects(bucket, "a", true, { IncludeVersion: true }));
assert.equal(versions.filter((entry) => entry.name === "a").length, 3);
await client.removeObjects(
  bucket,
  (await all(client.listObjects(bucket, "", true, { IncludeVersion: true }))).map(
    ({ name, versionId }) => ({ name, versionId }),
  ),
);
await client.removeBucket(bucket);
console.log(JSON.stringify({ keys: found.length, bytes: big.length }));
