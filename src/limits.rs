//! Every bound of the server in one place, each with its unit and its reason.
//!
//! A limit that an operator may change is a setting in `config`; what stands here is fixed.

use std::time::Duration;

// ---- connections and requests ------------------------------------------------------------

/// Threads that serve connections, unless `JOG_THREADS` says otherwise. Sized for slow clients:
/// 200 uploads that trickle must leave threads for everybody else.
pub const DEFAULT_THREADS: usize = 256;
/// Connections that wait for a free thread; one more is answered 503 SlowDown.
pub const QUEUED_CONNECTIONS: usize = 512;
/// Open connections, busy and idle together; one more takes the place of that which is idle for
/// longest, or is answered 503 SlowDown if none is.
pub const MAX_CONNECTIONS: usize = 4096;
/// Stack of a serving thread, in bytes. No function on it recurses on input.
pub const THREAD_STACK_BYTES: usize = 512 * 1024;
/// Length of the queue of connections that the kernel has accepted for us.
pub const LISTEN_BACKLOG: i32 = 1024;
/// Request line and headers together, in bytes (431 beyond it).
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Header lines of one request (431 beyond it).
pub const MAX_HEADERS: usize = 200;
/// From the first byte of a request to the end of its head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stay open without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a thread waits on its connection for the next request before the connection is
/// parked with the others that are idle. A busy client never pays for parking.
pub const LINGER: Duration = Duration::from_millis(20);
/// A client that sends or takes no byte for this long has gone.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a wait for a client looks at whether others wait for its thread.
pub const PACE_STEP: Duration = Duration::from_secs(1);
/// While no thread is free and others wait, a client that was waited for so long and was slower
/// than [`SLOW_BYTES_PER_SECOND`] is cut off.
pub const SLOW_AFTER: Duration = Duration::from_secs(2);
/// See [`SLOW_AFTER`].
pub const SLOW_BYTES_PER_SECOND: f64 = 16.0 * 1024.0;
/// Heads of which only a part has come are kept without a thread, all together up to so many
/// bytes; beside those of 4 KiB and less.
pub const MAX_HELD_HEAD_BYTES: usize = 16 * 1024 * 1024;
/// Unread body that is read and dropped to keep a connection usable; beyond it we close.
pub const DRAIN_BYTES: u64 = 256 * 1024;
/// Time spent on dropping an unread body.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Size line and extensions of one HTTP chunk, in bytes.
pub const MAX_CHUNK_LINE_BYTES: usize = 1024;
/// Pause of the accept loop after a failed accept (EMFILE and its like).
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Requests in flight get this long to end after SIGTERM, unless `JOG_SHUTDOWN_TIMEOUT` says
/// otherwise.
pub const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(30);

// ---- bodies ------------------------------------------------------------------------------

/// Buffer between socket and file, in bytes.
pub const IO_BUFFER_BYTES: usize = 256 * 1024;
/// How much of what a client says of itself (User-Agent, Referer) policies compare, in bytes: it can say
/// what it likes, and DeleteObjects has it compared for each of its keys.
pub const MAX_SAID_BYTES: usize = 2048;
/// How much of that, and of the Host, a line of a bucket's access log tells, in bytes each.
pub const MAX_LOGGED_BYTES: usize = 1024;
/// Request documents (XML, JSON), in bytes.
pub const MAX_DOCUMENT_BYTES: u64 = 2 * 1024 * 1024;
/// Request documents that are in memory at the same time, all together, in bytes as they arrive; one
/// more is answered 503 SlowDown.
pub const MAX_DOCUMENTS_BYTES: u64 = 32 * 1024 * 1024;
/// The same for requests without a signature in their heads, which have room of their own: a few of
/// them that stall must not shut out those who sign.
pub const MAX_UNSIGNED_DOCUMENTS_BYTES: u64 = 8 * 1024 * 1024;
/// A document that is read before it is decided whether its sender may send it (tags, retention,
/// legal hold), in bytes.
pub const MAX_UNDECIDED_BYTES: u64 = 64 * 1024;
/// Requests without a signature in their heads whose bodies are read all the same (POST forms,
/// DeleteObjects), at the same time; never more than half of the threads. One more is answered 503
/// SlowDown.
pub const MAX_STRANGERS: u64 = 128;
/// Elements inside one another in a request document.
pub const MAX_XML_DEPTH: usize = 32;
/// Elements of a request document; 10,000 parts with a checksum each are 40,001.
pub const MAX_XML_ELEMENTS: usize = 100_000;
/// Attributes of one element.
pub const MAX_XML_ATTRIBUTES: usize = 16;
/// Body of PutObject, UploadPart and the file of a POST form, in bytes (EntityTooLarge).
pub const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Fields of a POST form before its file, all together, in bytes.
pub const MAX_FORM_BYTES: usize = 64 * 1024;
/// Fields of a POST form.
pub const MAX_FORM_FIELDS: usize = 200;
/// One signed chunk of a streaming upload is verified before any of its bytes count as read, so
/// this many bytes may have to be read past a wrong signature; they reach no object.
pub const MAX_SIGNED_CHUNK_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Trailers after a chunked upload, in bytes.
pub const MAX_TRAILER_BYTES: usize = 16 * 1024;

// ---- S3 ----------------------------------------------------------------------------------

/// Object key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// Names and values of `x-amz-meta-*` together, in bytes.
pub const MAX_METADATA_BYTES: usize = 2048;
/// Keys, versions, uploads or parts on one page of a listing.
pub const MAX_LIST_KEYS: usize = 1000;
/// Keys of one DeleteObjects.
pub const MAX_DELETE_KEYS: usize = 1000;
/// Buckets on one page of ListBuckets.
pub const MAX_LIST_BUCKETS: usize = 10_000;
/// Highest part number.
pub const MAX_PARTS: u32 = 10_000;
/// Every part but the last has at least this size, in bytes (EntityTooSmall).
pub const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Largest object, in bytes.
pub const MAX_OBJECT_BYTES: u64 = 50 * 1024 * 1024 * 1024 * 1024;
/// Tags of an object.
pub const MAX_OBJECT_TAGS: usize = 10;
/// Tags of a bucket.
pub const MAX_BUCKET_TAGS: usize = 50;
/// Key of a tag, in characters.
pub const MAX_TAG_KEY_CHARS: usize = 128;
/// Value of a tag, in characters.
pub const MAX_TAG_VALUE_CHARS: usize = 256;
/// A policy of a bucket or a user, in bytes.
pub const MAX_POLICY_BYTES: usize = 20 * 1024;
/// Statements of a policy.
pub const MAX_POLICY_STATEMENTS: usize = 200;
/// Grants of an access control list.
pub const MAX_GRANTS: usize = 100;
/// Token of a RenameObject, in characters.
pub const MAX_RENAME_TOKEN_CHARS: usize = 64;
/// How long the token of a RenameObject is remembered, in milliseconds.
pub const RENAME_TOKEN_MS: i64 = 24 * 60 * 60 * 1000;
/// How far a request's date may lie from ours (RequestTimeTooSkewed).
pub const MAX_SKEW: Duration = Duration::from_secs(15 * 60);
/// Longest life of a presigned URL, in seconds.
pub const MAX_PRESIGNED_SECONDS: u64 = 7 * 24 * 3600;
/// Document of a CORS configuration, in bytes.
pub const MAX_CORS_BYTES: usize = 64 * 1024;
/// Rules of a CORS configuration.
pub const MAX_CORS_RULES: usize = 100;
/// ID of a CORS rule, in characters.
pub const MAX_CORS_ID_CHARS: usize = 255;
/// Headers that a CORS preflight may ask for: each is compared with all that the rules allow.
pub const MAX_CORS_REQUEST_HEADERS: usize = 100;
/// Document of a website configuration, in bytes.
pub const MAX_WEBSITE_BYTES: usize = 128 * 1024;
/// Routing rules of a website.
pub const MAX_ROUTING_RULES: usize = 50;
/// TargetPrefix of an access log, in bytes: the rest of a key, with an owner's ID, a region and a
/// bucket's name, must fit behind it.
pub const MAX_LOG_PREFIX_BYTES: usize = 700;
/// Rules of a lifecycle configuration.
pub const MAX_LIFECYCLE_RULES: usize = 1000;
/// ID of a lifecycle rule, in characters.
pub const MAX_LIFECYCLE_ID_CHARS: usize = 255;
/// Tags in the filter of a lifecycle rule: as many as an object can have.
pub const MAX_LIFECYCLE_TAGS: usize = 10;
/// Highest NewerNoncurrentVersions of a lifecycle rule.
pub const MAX_NEWER_NONCURRENT_VERSIONS: u32 = 100;
/// Subscriptions in the notification configuration of a bucket.
pub const MAX_NOTIFICATIONS: usize = 100;
/// ID of a subscription, in characters.
pub const MAX_NOTIFICATION_ID_CHARS: usize = 255;
/// Versions that the lifecycle job reads with one query.
pub const LIFECYCLE_PAGE: usize = 1000;
/// Versions that it takes away in one transaction.
pub const LIFECYCLE_BATCH: usize = 100;
/// When it tries again after an error.
pub const LIFECYCLE_RETRY: Duration = Duration::from_secs(60);
/// Longest sleep of it, so that it follows a clock that was set.
pub const LIFECYCLE_MAX_SLEEP: Duration = Duration::from_secs(3600);
/// Lines of a preview of lifecycle rules.
pub const MAX_PREVIEW_LINES: usize = 10_000;

// ---- event notifications -----------------------------------------------------------------

/// Webhooks that may be declared; each has a thread.
pub const MAX_WEBHOOKS: usize = 16;
/// Events that wait for one webhook. When so many wait, a further one is dropped and counted:
/// what was promised first is kept, and a target that is away costs no more writes.
pub const MAX_QUEUED_EVENTS: i64 = 100_000;
/// Events that are read at once, and taken off the queue with one transaction.
pub const EVENT_BATCH: usize = 100;
/// How long an event may wait for its webhook; then it is dropped and counted, so that one that is
/// never taken does not hold up those behind it for ever.
pub const EVENT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a webhook may go on to answer that it does not take this very event (400, 413, 415,
/// 422); then the event is dropped and counted.
pub const EVENT_REFUSED_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// To reach one address of a webhook.
pub const WEBHOOK_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte sent to a webhook to its answer.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Head of a webhook's answer, in bytes. Its body is not read.
pub const MAX_WEBHOOK_HEAD_BYTES: usize = 16 * 1024;
/// Pause after a delivery that failed; doubled with each further one.
pub const WEBHOOK_RETRY: Duration = Duration::from_secs(1);
/// Longest pause between two tries.
pub const MAX_WEBHOOK_RETRY: Duration = Duration::from_secs(300);

// ---- guessing at keys --------------------------------------------------------------------

/// Failed signatures that a source address gets back a second, up to `JOG_AUTH_FAILURES`.
pub const AUTH_FAILURES_PER_SECOND: f64 = 1.0;
/// Source addresses whose failures are remembered.
pub const MAX_SLOWED_SOURCES: usize = 4096;
/// Pairs of source address and access key that are known to be good.
pub const MAX_PROVEN_CLIENTS: usize = 4096;
/// How long such a pair is known after it was last proven.
pub const PROVEN_FOR: Duration = Duration::from_secs(3600);

// ---- store -------------------------------------------------------------------------------

/// Connections that read metadata at the same time.
pub const READ_CONNECTIONS: usize = 16;
/// Page cache of one connection to metadata.db, in KiB.
pub const SQLITE_CACHE_KIB: i64 = 1024;
/// Buckets that are kept in memory.
pub const CACHED_BUCKETS: usize = 1024;
/// Bytes of their configurations, all together; one may have 2 MiB.
pub const CACHED_CONFIG_BYTES: usize = 8 * 1024 * 1024;
/// Rows of objects that are kept in memory.
pub const CACHED_ROWS: usize = 8192;
/// Pages of listings that are kept in memory.
pub const CACHED_PAGES: usize = 64;
/// Bytes of such a page at the most: a folder of some hundred entries.
pub const CACHED_PAGE_BYTES: usize = 64 * 1024;
/// Canonical IDs of owners that are kept in memory.
pub const CACHED_OWNERS: usize = 4096;
/// How long SQLite waits for a lock of another process (Litestream), in milliseconds.
pub const SQLITE_BUSY_MS: u64 = 10_000;
/// How long the writer waits for readers to cut off the WAL where the disk is full, in milliseconds.
/// Ours read for an instant; Litestream reads all the time and would be waited for in vain.
pub const SQLITE_CUT_MS: u64 = 500;
/// How long the end of the server waits for the last who read metadata, in milliseconds: requests
/// that did not end in time.
pub const SQLITE_CLOSE_MS: u64 = 1000;
/// Jobs in one transaction of the writer.
pub const MAX_GROUP_COMMIT: usize = 256;
/// Frames in the WAL that start a checkpoint.
pub const CHECKPOINT_FRAMES: u64 = 2000;
/// The same beside Litestream, which makes the checkpoints while it runs, from 1,000 frames on; a
/// WAL of 200 MB has nobody else who cares for it.
pub const REPLICATED_CHECKPOINT_FRAMES: u64 = 50_000;
/// Blob numbers reserved with one commit.
pub const BLOB_RESERVE: u64 = 8192;
/// Lines of an access log that are delivered at once, whatever their age, in bytes.
pub const LOG_BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Access logs that gather lines at the same time; one more has them all delivered.
pub const LOG_OPEN_FILES: usize = 256;
/// All lines that wait for their delivery, in bytes; beyond it they are lost, and that is logged.
pub const LOG_SPOOL_BYTES: u64 = 256 * 1024 * 1024;
/// How often the lines that wait are synced.
pub const LOG_SYNC: Duration = Duration::from_secs(1);
/// How long the deliverer waits after a delivery that failed.
pub const LOG_RETRY: Duration = Duration::from_secs(30);

// ---- backups -----------------------------------------------------------------------------

/// Files that a backup makes durable together.
pub const BACKUP_BATCH_FILES: usize = 1024;
/// Their bytes.
pub const BACKUP_BATCH_BYTES: u64 = 256 * 1024 * 1024;
/// How long they wait for one another: what is durable need not be copied again after a crash.
pub const BACKUP_BATCH_TIME: Duration = Duration::from_secs(10);
/// Pages of metadata.db that a backup copies between two looks at what else there is to do.
pub const BACKUP_STEP_PAGES: i32 = 1024;
/// Lost objects that the manifest of a snapshot lists; the output of the command lists all.
pub const MANIFEST_LOST: usize = 1000;

// ---- exports and imports -----------------------------------------------------------------

/// Objects that an export reads from metadata.db at once.
pub const EXPORT_PAGE: usize = 1000;
/// Escaped names and failures that `jog export --json` and `jog import --json` list; all of them are
/// counted, and each failure is told on stderr.
pub const MAX_LISTED: usize = 10_000;
/// A line of the notes of an export, in bytes: a key, 10 tags and the fields of a request head, each
/// byte of which may be six in JSON.
pub const MAX_NOTE_BYTES: u64 = 512 * 1024;
/// Folders inside one another that an import enters: as many as an export makes of a key, and some.
pub const MAX_IMPORT_DEPTH: usize = 1100;
/// Threads of an import: so many files wait for the disk together.
pub const IMPORT_THREADS: usize = 8;
/// Files that an import has open.
pub const IMPORT_QUEUE: usize = 32;
/// Imports that run in the server at the same time.
pub const MAX_IMPORTS: usize = 4;

// ---- users -------------------------------------------------------------------------------

/// Users beside root; all of them are kept in memory.
pub const MAX_USERS: usize = 10_000;
/// Access keys of one user.
pub const MAX_KEYS_PER_USER: usize = 16;
/// Policy of a user, in bytes.
pub const MAX_USER_POLICY_BYTES: usize = 32 * 1024;

// ---- administration ----------------------------------------------------------------------

/// Longest request of a `jog` command to the running server, in bytes: one line of JSON.
pub const MAX_ADMIN_REQUEST_BYTES: u64 = 512 * 1024;
/// Largest file that an option of a `jog` command may name, in bytes.
pub const MAX_ADMIN_FILE_BYTES: u64 = 64 * 1024;
/// How old what `/_jog/metrics` tells of the store may be: looking at all trash takes a while.
pub const METRICS_CACHE: Duration = Duration::from_secs(5);
/// How long a `jog` command may take to send its request, and to take one line of the answer.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a `jog` command tries to reach a server that is starting or stopping.
pub const ADMIN_PATIENCE: Duration = Duration::from_secs(5);
