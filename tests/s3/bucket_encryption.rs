//! The encryption that a bucket is configured with.

use super::encryption::{Kind, get, put, server};

/// A document with these rules.
pub fn configuration(rules: &str) -> String {
    format!("<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>")
}

/// The rule that makes SSE-S3 the default.
pub const AES256: &str = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256\
                      </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>";

#[test]
fn the_default_of_a_bucket() {
    let server = server();
    let bucket = server.bucket("sse");
    let config = format!("/{bucket}?encryption");
    let none = "ServerSideEncryptionConfigurationNotFoundError";
    server.get(&config).send().expect_error(404, none);
    server.delete(&config).send().expect(204);
    put(server, &format!("/{bucket}/before"), Kind::Plain, b"0123456789abcdef");
    server.put(&config).body(configuration(AES256)).send().expect(200);
    assert_eq!(server.get(&config).send().expect(200).text("SSEAlgorithm"), "AES256");
    get(server, &format!("/{bucket}/before"), Kind::Plain);

    let target = format!("/{bucket}/k");
    Kind::Server.named(server.put(&target).body("body").send().expect(200));
    assert_eq!(get(server, &target, Kind::Server).body, b"body");
    put(server, &target, Kind::Customer(1), b"body");
    get(server, &target, Kind::Customer(1));
    let copy = server.put(&target).header("x-amz-copy-source", format!("/{bucket}/before"));
    Kind::Server.named(copy.send().expect(200));
    assert_eq!(get(server, &target, Kind::Server).body, b"0123456789abcdef");
    let create = server.post(&format!("/{bucket}/m?uploads")).send().expect(200);
    let id = Kind::Server.named(create).text("UploadId");
    let etag = server.part(&bucket, "m", &id, 1, b"part");
    Kind::Server.named(server.complete(&bucket, "m", &id, &[(1, &etag)]).send().expect(200));
    assert_eq!(get(server, &format!("/{bucket}/m"), Kind::Server).body, b"part");

    server.delete(&config).send().expect(204);
    server.get(&config).send().expect_error(404, none);
    put(server, &target, Kind::Plain, b"body");
    get(server, &format!("/{bucket}/m"), Kind::Server);
}

#[test]
fn configurations_that_are_refused() {
    let server = server();
    let bucket = server.bucket("sse");
    let config = format!("/{bucket}?encryption");
    let kms = AES256.replace("AES256", "aws:kms");
    let set = |rules: &str| server.put(&config).body(configuration(rules)).send();
    set(&kms).expect_error(501, "NotImplemented");
    set("").expect_error(400, "MalformedXML");
    set(&AES256.replace("AES256", "AES512")).expect_error(400, "MalformedXML");
    set(&[AES256, AES256].concat()).expect_error(400, "MalformedXML");
    server.get(&config).send().expect(404);
    let blocks = "<Rule><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
                  </BlockedEncryptionTypes></Rule>";
    set(blocks).expect(200);
    let target = format!("/{bucket}/k");
    Kind::Customer(1).write(server.put(&target).body("x")).send().expect_error(403, "AccessDenied");
    put(server, &target, Kind::Server, b"x");
}
