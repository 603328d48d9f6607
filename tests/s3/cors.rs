//! Cross-origin requests: what browsers send, and what they are told.

use crate::support::{Request, Response, Server, shared};

const RULE: &str = "<CORSRule><AllowedHeader>*</AllowedHeader><AllowedMethod>GET</AllowedMethod>\
    <AllowedMethod>PUT</AllowedMethod><AllowedOrigin>https://app.example</AllowedOrigin>\
    <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule>";

fn configure(server: &Server, bucket: &str, rules: &str) {
    let body = format!("<CORSConfiguration>{rules}</CORSConfiguration>");
    server.put(&format!("/{bucket}?cors")).body(body).send().expect(200);
}

/// Access-Control-Allow-Origin and -Methods.
fn allowed(response: &Response) -> Option<(&str, &str)> {
    let field = |name| response.header(name);
    field("access-control-allow-origin").zip(field("access-control-allow-methods"))
}

#[test]
fn a_configuration_is_kept_given_back_and_removed() {
    let server = shared();
    let bucket = server.bucket("cors");
    let target = format!("/{bucket}?cors");
    server.get(&target).send().expect_error(404, "NoSuchCORSConfiguration");
    configure(server, &bucket, RULE);
    let kept = server.get(&target).send().expect(200);
    assert!(kept.xml().contains(RULE), "{}", kept.xml());
    assert_eq!(kept.header("content-type"), Some("application/xml"));
    let bad = "<CORSConfiguration><CORSRule/></CORSConfiguration>";
    server.put(&target).body(bad).send().expect_error(400, "MalformedXML");
    assert_eq!(server.get(&target).send().expect(200).body, kept.body);
    server.delete(&target).send().expect(204);
    server.get(&target).send().expect_error(404, "NoSuchCORSConfiguration");
    server.delete(&target).send().expect(204);
    for request in
        [server.put("/no-such-bucket-here?cors"), server.delete("/no-such-bucket-here?cors")]
    {
        let body = format!("<CORSConfiguration>{RULE}</CORSConfiguration>");
        request.body(body).send().expect_error(404, "NoSuchBucket");
    }
}

#[test]
fn answers_to_an_origin_that_is_allowed() {
    let server = shared();
    let bucket = server.bucket("cors");
    let object = format!("/{bucket}/k");
    server.put(&object).body("x").send().expect(200);
    configure(server, &bucket, RULE);
    let from = |request: Request| request.header("Origin", "https://app.example").send();
    let fine = from(server.get(&object)).expect(200);
    assert_eq!(allowed(&fine), Some(("https://app.example", "GET, PUT")));
    assert_eq!(fine.header("access-control-expose-headers"), Some("ETag"));
    assert_eq!(fine.header("access-control-max-age"), Some("600"));
    assert_eq!(fine.header("access-control-allow-credentials"), Some("true"));
    let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
    assert_eq!(fine.header("vary"), Some(vary));
    // Errors are for the browser's script, too.
    for (response, status) in [
        (from(server.get(&format!("/{bucket}/none"))), 404),
        (from(server.get(&object).anonymous()), 403),
        (from(server.put(&object).anonymous()), 403),
        (from(server.get(&object).header("If-None-Match", "*")), 304),
        (from(server.put(&object).header("Content-MD5", "x")), 400),
        (from(server.put(&format!("/{bucket}?unknown&cors"))), 400),
    ] {
        let response = response.expect(status);
        assert_eq!(allowed(&response), Some(("https://app.example", "GET, PUT")));
        assert_eq!(response.header("vary"), Some(vary));
    }
    // Not allowed: the answer is the same, but a browser will not show it.
    let other = server.get(&object).header("Origin", "https://other.example").send().expect(200);
    assert_eq!((allowed(&other), other.header("vary")), (None, Some(vary)));
    let none = server.get(&object).send().expect(200);
    assert_eq!((allowed(&none), none.header("vary")), (None, Some(vary)));
    assert_eq!(allowed(&from(server.delete(&object)).expect(204)), None);
    server.delete(&format!("/{bucket}?cors")).send().expect(204);
    let off = from(server.get(&object)).expect(404);
    assert_eq!((allowed(&off), off.header("vary")), (None, None));
}

/// The rules of Ceph's s3-tests, each asked in each way.
#[test]
fn wildcards_in_origins() {
    let server = shared();
    let bucket = server.bucket("cors");
    let rule = |origin: &str, method: &str| {
        format!(
            "<CORSRule><AllowedMethod>{method}</AllowedMethod>\
             <AllowedOrigin>{origin}</AllowedOrigin></CORSRule>"
        )
    };
    let rules = [("*suffix", "GET"), ("start*end", "GET"), ("prefix*", "GET"), ("*.put", "PUT")];
    configure(server, &bucket, &rules.map(|(origin, method)| rule(origin, method)).concat());
    let preflight = |origin: &str, method: &str| {
        let options = server.request("OPTIONS", &format!("/{bucket}")).anonymous();
        options.header("Origin", origin).header("Access-Control-Request-Method", method).send()
    };
    for origin in ["foo.suffix", "startend", "start1end", "prefix", "prefix.suffix"] {
        let list = server.get(&format!("/{bucket}")).header("Origin", origin).send().expect(200);
        assert_eq!(allowed(&list), Some((origin, "GET")));
        assert_eq!(allowed(&preflight(origin, "GET").expect(200)), Some((origin, "GET")));
        assert_eq!(allowed(&preflight(origin, "PUT").expect(403)), None);
    }
    for origin in ["foo.bar", "foo.suffix.get", "0start12end", "bla.prefix", "foo.put"] {
        let list = server.get(&format!("/{bucket}")).header("Origin", origin).send().expect(200);
        assert_eq!(allowed(&list), None, "{origin}");
        preflight(origin, "GET").expect_error(403, "AccessForbidden");
    }
    assert_eq!(allowed(&preflight("foo.put", "PUT").expect(200)), Some(("foo.put", "PUT")));
    let put = server.put(&format!("/{bucket}/bar")).anonymous().header("Origin", "foo.suffix");
    assert_eq!(allowed(&put.clone().send().expect(403)), None);
    let asked = put.header("Access-Control-Request-Method", "GET").send().expect(403);
    assert_eq!(allowed(&asked), Some(("foo.suffix", "GET")));
    configure(server, &bucket, &rule("*", "GET"));
    let any = server.get(&format!("/{bucket}")).header("Origin", "example.origin").send();
    let any = any.expect(200);
    assert_eq!(allowed(&any), Some(("*", "GET")));
    assert_eq!(any.header("access-control-allow-credentials"), None);
}

#[test]
fn preflights() {
    let server = shared();
    let bucket = server.bucket("cors");
    let target = format!("/{bucket}/a key?versionId=x&uploadId=y");
    let options = |fields: &[(&str, &str)]| {
        let request = server.request("OPTIONS", &target).anonymous();
        fields.iter().fold(request, |request, (n, v)| request.header(n, *v)).send()
    };
    let origin = ("Origin", "https://app.example");
    let method = ("Access-Control-Request-Method", "PUT");
    options(&[origin, method]).expect_error(403, "AccessForbidden");
    let rule = RULE.replace("<AllowedHeader>*<", "<AllowedHeader>x-amz-*<");
    configure(server, &bucket, &rule);
    let headers = |names| ("Access-Control-Request-Headers", names);
    let fine = options(&[origin, method, headers("X-Amz-Date, x-amz-meta-a")]).expect(200);
    assert_eq!(allowed(&fine), Some(("https://app.example", "GET, PUT")));
    assert_eq!(fine.header("access-control-allow-headers"), Some("x-amz-date, x-amz-meta-a"));
    assert_eq!(fine.header("access-control-max-age"), Some("600"));
    assert!(fine.header("vary").is_some_and(|v| v.starts_with("Origin")));
    assert_eq!(fine.body, b"");
    let refused = options(&[origin, method, headers("authorization")]);
    let refused = refused.expect_error(403, "AccessForbidden");
    assert_eq!(
        (refused.text("Method"), refused.text("ResourceType")),
        ("PUT".into(), "OBJECT".into())
    );
    assert!(refused.header("vary").is_some());
    options(&[origin, ("Access-Control-Request-Method", "DELETE")]).expect(403);
    options(&[origin]).expect_error(400, "BadRequest");
    options(&[method]).expect_error(400, "BadRequest");
    options(&[]).expect_error(400, "BadRequest");
    let gone = server.request("OPTIONS", "/no-such-bucket-here/k").anonymous();
    let gone = gone.header(origin.0, origin.1).header(method.0, method.1).send();
    gone.expect_error(403, "AccessForbidden");
}

/// What a browser does with a presigned URL: the preflight has the URL of the PUT.
#[test]
fn presigned_urls_from_a_browser() {
    let server = shared();
    let bucket = server.bucket("cors");
    configure(server, &bucket, RULE);
    for (method, status, fields) in
        [("PUT", 200, vec![("Content-Type", "text/plain")]), ("GET", 200, Vec::new())]
    {
        let signed = server.request(method, &format!("/{bucket}/k")).presigned(60).body("");
        let mut message = signed.message().header("Origin", "https://app.example");
        for (name, value) in fields {
            message = message.header(name, value);
        }
        let mut preflight = message.clone();
        preflight.method = "OPTIONS".to_owned();
        preflight.headers.truncate(1);
        let preflight = preflight
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", "content-type")
            .send()
            .expect(200);
        assert_eq!(allowed(&preflight), Some(("https://app.example", "GET, PUT")));
        let done = message.send().expect(status);
        assert_eq!(allowed(&done), Some(("https://app.example", "GET, PUT")));
        assert!(done.header("etag").is_some());
    }
    // Signature Version 2: JOG does not take it, but that is not for the preflight to say.
    let query = "?AWSAccessKeyId=a&Signature=b&Expires=9999999999";
    let old = server.request("OPTIONS", &format!("/{bucket}/k{query}")).anonymous();
    let old = old.header("Origin", "https://app.example");
    old.header("Access-Control-Request-Method", "GET").send().expect(200);
}

#[test]
fn a_configuration_outlives_a_crash() {
    let mut server = Server::start();
    let bucket = server.bucket("cors");
    configure(&server, &bucket, RULE);
    server.crash();
    let kept = server.get(&format!("/{bucket}?cors")).send().expect(200);
    assert!(kept.xml().contains(RULE));
    // A bucket of the same name starts anew.
    server.delete(&format!("/{bucket}")).send().expect(204);
    server.put(&format!("/{bucket}")).send().expect(200);
    let anew = server.get(&format!("/{bucket}")).header("Origin", "https://app.example").send();
    assert_eq!(allowed(&anew.expect(200)), None);
}
