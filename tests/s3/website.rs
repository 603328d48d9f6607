//! Websites: their configuration, and what their port and their hosts answer.

use crate::support::{Request, Response, Server, shared};
use std::net::SocketAddr;

const SITE: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
    <ErrorDocument><Key>error.html</Key></ErrorDocument>\
    <RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
    <Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>app/</KeyPrefixEquals>\
    <HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals></Condition>\
    <Redirect><Protocol>https</Protocol><HostName>login.example</HostName>\
    <HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule></RoutingRules>";

fn configure(server: &Server, bucket: &str, inside: &str) {
    let body = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
    server.put(&format!("/{bucket}?website")).body(body).send().expect(200);
}

/// Where the websites of a server are.
fn port(server: &Server) -> SocketAddr {
    let line = server.log_line("websites", |line| line.contains("websites are on "));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn visit(address: SocketAddr, target: &str, host: &str) -> Response {
    Request::new(address, "GET", target).anonymous().host(host).send()
}

fn location(response: &Response) -> (u16, &str) {
    (response.status, response.header("location").unwrap_or_default())
}

#[test]
fn a_configuration_is_kept_given_back_and_removed() {
    let server = shared();
    let bucket = server.bucket("web");
    let target = format!("/{bucket}?website");
    server.get(&target).send().expect_error(404, "NoSuchWebsiteConfiguration");
    configure(server, &bucket, SITE);
    let kept = server.get(&target).send().expect(200);
    assert!(kept.xml().contains(SITE), "{}", kept.xml());
    let put = |inside: &str| {
        let body = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        server.put(&target).body(body).send()
    };
    put("").expect_error(400, "InvalidArgument");
    put("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>").expect_error(400, "InvalidArgument");
    server.put(&target).body("<Website/>").send().expect_error(400, "MalformedXML");
    assert_eq!(server.get(&target).send().expect(200).body, kept.body);
    server.delete(&target).send().expect(204);
    server.get(&target).send().expect_error(404, "NoSuchWebsiteConfiguration");
}

#[test]
fn a_port_of_their_own() {
    let server = Server::with(&[("JOG_WEBSITE_PORT", "0")]);
    let address = port(&server);
    let bucket = server.bucket("web");
    let plain = address.to_string();
    let missing = visit(address, &format!("/{bucket}/"), &plain).expect(404);
    assert_eq!(missing.header("x-amz-error-code"), Some("NoSuchWebsiteConfiguration"));
    configure(&server, &bucket, SITE);
    // By path, with redirects that stay below it.
    let old = visit(address, &format!("/{bucket}/old/a%20b"), &plain);
    assert_eq!(location(&old), (301, &*format!("/{bucket}/new/a%2520b")));
    let root = visit(address, &format!("/{bucket}"), &plain);
    assert_eq!(location(&root), (302, &*format!("/{bucket}/")));
    let login = visit(address, &format!("/{bucket}/app/x"), &plain);
    assert_eq!(location(&login), (302, "https://login.example/app/x"));
    // By the host that is the bucket's name.
    assert_eq!(location(&visit(address, "/old/x", &format!("{bucket}:80"))), (301, "/new/x"));
    // Nobody has said that everybody may read, so not even the error document is shown.
    for key in ["index.html", "error.html", "docs/index.html"] {
        server.put(&format!("/{bucket}/{key}")).body(key).send().expect(200);
    }
    for target in ["/", "/index.html", "/docs", "/none"] {
        let denied = visit(address, target, &bucket).expect(403);
        assert_eq!(denied.header("x-amz-error-code"), Some("AccessDenied"));
        assert_eq!(denied.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(denied.header("x-amz-request-id").is_some_and(|id| id.len() == 16));
        assert!(denied.xml().contains("<h1>403 Forbidden</h1>"), "{}", denied.xml());
    }
    // A signature changes nothing: this is not the interface of S3.
    let signed = Request::new(address, "GET", "/index.html").host(&bucket).send().expect(403);
    assert!(signed.xml().starts_with("<html>"));
    let list = Request::new(address, "GET", "/?list-type=2").host(&bucket).send();
    assert_eq!(list.expect(403).header("x-amz-error-code"), Some("AccessDenied"));
    let head = Request::new(address, "HEAD", "/none").anonymous().host(&bucket).send().expect(403);
    assert_eq!(head.body, b"");
    for method in ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"] {
        let request = Request::new(address, method, "/x").anonymous().host(&bucket);
        let refused = request.send().expect(405);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    let nowhere = visit(address, "/no-such-bucket-here/", &plain).expect(404);
    assert_eq!(nowhere.header("x-amz-error-code"), Some("NoSuchBucket"));
    visit(address, "/", &plain).expect(404);
    let malformed = Request::new(address, "GET", "/").anonymous().host(&bucket).raw_path("/%zz");
    assert_eq!(malformed.send().expect(400).header("x-amz-error-code"), Some("InvalidURI"));
    server.stop();
}

#[test]
fn everything_to_another_host() {
    let server = Server::with(&[("JOG_WEBSITE_PORT", "0")]);
    let address = port(&server);
    let bucket = server.bucket("web");
    let all = "<RedirectAllRequestsTo><HostName>b.example</HostName></RedirectAllRequestsTo>";
    configure(&server, &bucket, all);
    let moved = visit(address, "/a/b?c=d", &bucket);
    assert_eq!(location(&moved), (301, "http://b.example/a/b?c=d"));
    // Errors and redirects of a website are for browsers as well.
    let rule =
        "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";
    let cors = format!("<CORSConfiguration>{rule}</CORSConfiguration>");
    server.put(&format!("/{bucket}?cors")).body(cors).send().expect(200);
    let request = Request::new(address, "GET", "/a").anonymous().host(&bucket);
    let moved = request.header("Origin", "https://a.example").send().expect(301);
    assert_eq!(moved.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn hosts_below_a_domain() {
    let vars = [
        ("JOG_WEBSITE_PORT", "0"),
        ("JOG_WEBSITE_DOMAIN", "web.example"),
        ("JOG_DOMAIN", "s3.example"),
    ];
    let server = Server::with(&vars);
    let bucket = server.bucket("web");
    configure(&server, &bucket, SITE);
    let host = format!("{}.Web.example:8080", bucket.to_uppercase());
    for address in [port(&server), server.address] {
        assert_eq!(location(&visit(address, "/old/x", &host)), (301, "/new/x"));
        let gone = visit(address, "/", "no-such-bucket-here.web.example").expect(404);
        assert_eq!(gone.header("x-amz-error-code"), Some("NoSuchBucket"));
    }
    // Sites with a domain do not share a host by their paths.
    let address = port(&server);
    visit(address, &format!("/{bucket}/old/x"), &address.to_string()).expect(404);
    // The port of S3 stays what it was.
    server.get("/").host(&format!("{bucket}.s3.example")).send().expect(200);
    server.get(&format!("/{bucket}")).send().expect(200);
    visit(server.address, "/old/x", &bucket).expect_error(404, "NoSuchBucket");
}

#[test]
fn an_object_may_redirect_to_a_path_or_a_url_only() {
    let server = shared();
    let bucket = server.bucket("web");
    let field = "x-amz-website-redirect-location";
    let put =
        |key: &str, to: &str| server.put(&format!("/{bucket}/{key}")).header(field, to).send();
    put("a", "other").expect_error(400, "InvalidRedirectLocation");
    put("a", "/other").expect(200);
    let head = server.head(&format!("/{bucket}/a")).send().expect(200);
    assert_eq!(head.header(field), Some("/other"));
    // A copy does not take it over.
    let copy = server.put(&format!("/{bucket}/b"));
    copy.header("x-amz-copy-source", format!("/{bucket}/a")).send().expect(200);
    assert_eq!(server.head(&format!("/{bucket}/b")).send().expect(200).header(field), None);
}

#[test]
fn without_a_setting_there_is_no_port() {
    let server = Server::start();
    server.get("/").send().expect(200);
    assert!(!server.log().contains("websites"));
}

/// What a bucket policy opens to everybody is shown, and nothing else.
#[test]
fn what_everybody_may_read_is_shown() {
    let server = Server::with(&[("JOG_WEBSITE_PORT", "0"), ("JOG_SSE_KEY", &"0a".repeat(32))]);
    let address = port(&server);
    let bucket = server.bucket("web");
    configure(&server, &bucket, SITE);
    for key in ["index.html", "error.html", "docs/index.html", "private/index.html"] {
        server.put(&format!("/{bucket}/{key}")).body(key).send().expect(200);
    }
    let sealed = server.put(&format!("/{bucket}/sealed.html")).body("sealed");
    sealed.header("x-amz-server-side-encryption", "AES256").send().expect(200);
    let policy = format!(
        "{{\"Version\":\"2012-10-17\",\"Statement\":[\
         {{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\
           \"Resource\":\"arn:aws:s3:::{bucket}/*\"}},\
         {{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\
           \"Resource\":\"arn:aws:s3:::{bucket}/private/*\"}}]}}"
    );
    server.put(&format!("/{bucket}?policy")).body(policy).send().expect(204);
    let get = |target: &str| visit(address, target, &bucket);
    for (target, body) in [
        ("/", "index.html"),
        ("/docs/", "docs/index.html"),
        ("/index.html", "index.html"),
        ("/sealed.html", "sealed"),
    ] {
        assert_eq!(get(target).expect(200).body, body.as_bytes(), "{target}");
    }
    assert_eq!(location(&get("/docs")), (302, "/docs/"));
    let denied = get("/private/index.html").expect(403);
    assert_eq!(denied.body, b"error.html");
    // Whoever may not list the bucket does not learn what is not there.
    assert_eq!(get("/none").expect(403).body, b"error.html");
}
