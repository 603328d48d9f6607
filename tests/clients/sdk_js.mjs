// The AWS SDK for JavaScript against a server: node sdk_js.mjs FLOW, run by test_sdk_js.py from a
// directory that has the modules. Prints what it did as JSON; fails at the first thing amiss.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
  waitUntilBucketNotExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const MIB = 1 << 20;
const KEYS = ["日本語/ü ñ+%&.txt", "with space", "plus+sign", "a", "a/b", "a//b", "hash#question?",
  "quote'(paren)!star*", "emoji-🦀"];
const Bucket = process.env.BUCKET;

const settings = {
  endpoint: process.env.AWS_ENDPOINT_URL,
  region: process.env.AWS_REGION,
  forcePathStyle: true,
  maxAttempts: 1,
};
const client = new S3Client(settings);

/** Headers of the last request, in lower case. */
let sent = {};
client.middlewareStack.add(
  (next) => async (args) => {
    sent = args.request.headers;
    return next(args);
  },
  { step: "finalizeRequest", priority: "low", name: "noteHeaders" },
);

/** Bytes that look random and are the same in every run. */
function payload(size, seed) {
  const blocks = [];
  for (let made = 0; made < size; made += 32) {
    blocks.push(createHash("sha256").update(`${seed}/${made}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, size);
}

async function content(Key, more = {}) {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return Buffer.from(await Body.transformToByteArray());
}

function same(got, wanted, what) {
  assert.equal(got.length, wanted.length, what);
  assert.ok(got.equals(wanted), what);
}

async function failure(command) {
  try {
    await client.send(command);
  } catch (error) {
    return [error.$metadata.httpStatusCode, error.name];
  }
  return assert.fail("did not fail");
}

/** A stream whose length nobody knows, in pieces of odd sizes. */
function stream(data) {
  return Readable.from(
    (function* () {
      for (let at = 0, size = 1; at < data.length; at += size, size = (size * 7) % 100_003) {
        yield data.subarray(at, at + size);
      }
    })(),
  );
}

const flows = {
  async objects() {
    await client.send(new CreateBucketCommand({ Bucket }));
    const kept = new Map(KEYS.map((key, n) => [key, payload([0, 1, 5 * MIB + 1][n % 3], key)]));
    for (const [Key, Body] of kept) {
      const put = await client.send(
        new PutObjectCommand({ Bucket, Key, Body, Metadata: { colour: "blue" } }),
      );
      assert.ok(put.ChecksumCRC32, "a checksum by default");
    }
    for (const [key, data] of kept) {
      same(await content(key), data, key);
    }
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: KEYS[0] }));
    assert.deepEqual(head.Metadata, { colour: "blue" });
    same(await content(KEYS[2], { Range: "bytes=5-9" }), kept.get(KEYS[2]).subarray(5, 10));

    const CopySource = encodeURI(`${Bucket}/`) + encodeURIComponent(KEYS[0]);
    await client.send(new CopyObjectCommand({ Bucket, Key: "copy +", CopySource }));
    same(await content("copy +"), kept.get(KEYS[0]), "copy");
    await client.send(new DeleteObjectCommand({ Bucket, Key: "copy +" }));
    const gone = await failure(new GetObjectCommand({ Bucket, Key: "copy +" }));
    assert.deepEqual(gone, [404, "NoSuchKey"]);
    const put = { Bucket, Key: "a", Body: "again", IfNoneMatch: "*" };
    assert.deepEqual(await failure(new PutObjectCommand(put)), [412, "PreconditionFailed"]);

    const found = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket })) {
      assert.ok(page.KeyCount <= 2);
      found.push(...(page.Contents ?? []).map((entry) => entry.Key));
    }
    const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
    assert.deepEqual(found, [...KEYS].sort(byBytes));

    const Delete = { Objects: KEYS.map((Key) => ({ Key })) };
    const deleted = await client.send(new DeleteObjectsCommand({ Bucket, Delete }));
    assert.equal(deleted.Deleted.length, KEYS.length);
    await client.send(new DeleteBucketCommand({ Bucket }));
    await waitUntilBucketNotExists({ client, minDelay: 1, maxWaitTime: 5 }, { Bucket });
    return { keys: found.length };
  },

  async uploads() {
    const data = payload(20 * MIB + 11, "stream");
    const progress = [];
    const upload = new Upload({
      client,
      params: { Bucket, Key: "ü big +", Body: stream(data), ContentType: "text/x-odd" },
      queueSize: 4,
      partSize: 5 * MIB,
    });
    upload.on("httpUploadProgress", (event) => progress.push(event.loaded));
    const done = await upload.done();
    assert.match(done.ETag, /^"[0-9a-f]{32}-5"$/);
    assert.ok(done.ChecksumCRC32, "a checksum over the parts");
    assert.equal(progress.at(-1), data.length);
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "ü big +" }));
    assert.equal(got.ContentType, "text/x-odd");
    same(Buffer.from(await got.Body.transformToByteArray()), data, "multipart");

    // One that is given up leaves nothing behind.
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({ Bucket, Key: "given up" }),
    );
    const list = new ListMultipartUploadsCommand({ Bucket });
    assert.equal((await client.send(list)).Uploads.length, 1);
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key: "given up", UploadId }));
    assert.equal((await client.send(list)).Uploads, undefined);
    return { bytes: data.length };
  },

  async checksums() {
    const trailers = [];
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
      for (const size of [0, 1, 70_000, 5 * MIB + 1]) {
        const data = payload(size, ChecksumAlgorithm);
        const field = `Checksum${ChecksumAlgorithm}`;
        // In one piece, and as a stream, whose checksum can only follow it.
        const length = { ContentLength: size };
        for (const body of [{ Body: data }, { Body: stream(data), ...length }]) {
          const put = await client.send(
            new PutObjectCommand({ Bucket, Key: "key", ChecksumAlgorithm, ...body }),
          );
          if (sent["x-amz-trailer"]) trailers.push(sent["x-amz-trailer"]);
          const got = await client.send(
            new GetObjectCommand({ Bucket, Key: "key", ChecksumMode: "ENABLED" }),
          );
          assert.ok(put[field]);
          assert.equal(got[field], put[field]);
          same(Buffer.from(await got.Body.transformToByteArray()), data, field);
        }
      }
    }
    return { trailers: [...new Set(trailers)].sort() };
  },

  async presigned() {
    const Key = "日本語/ü ñ+%&.txt";
    const data = payload(100_000, "presigned");
    // By default it would sign the checksum of no data at all into the URL.
    const signer = new S3Client({ ...settings, requestChecksumCalculation: "WHEN_REQUIRED" });
    const put = await getSignedUrl(
      signer,
      new PutObjectCommand({ Bucket, Key, ContentType: "text/x-odd" }),
      { expiresIn: 60, signableHeaders: new Set(["content-type"]) },
    );
    const headers = { "content-type": "text/x-odd" };
    const stored = await fetch(put, { method: "PUT", body: data, headers });
    assert.equal(stored.status, 200, await stored.text());
    const get = await getSignedUrl(signer, new GetObjectCommand({ Bucket, Key }));
    const got = await fetch(get);
    assert.equal(got.headers.get("content-type"), "text/x-odd");
    same(Buffer.from(await got.arrayBuffer()), data, "presigned");
    assert.equal((await fetch(`${get}&x=y`)).status, 403);
    return { bytes: data.length };
  },
};

console.log(JSON.stringify(await flows[process.argv[2]]()));
