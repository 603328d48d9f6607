//! CompleteMultipartUpload: the list of parts is checked against what was uploaded, and the upload
//! becomes an object in one transaction. No byte is moved.

use super::{checksums, no_such_upload};
use crate::auth::Trailers;
use crate::http::{Headers, Response};
use crate::limits::{MAX_OBJECT_BYTES, MAX_PARTS, MIN_PART_BYTES};
use crate::s3::encryption::{self, Key};
use crate::s3::lifecycle::Fresh;
use crate::s3::{Call, Code, S3Error, conditions, document, metadata, receive, versioning};
use crate::store::{Bucket, Completed, NewData, NewObject, Part, Refused, Upload};
use crate::types::notification::Event;
use crate::types::{Checksum, ChecksumAlgorithm, ChecksumType, ETag, Precondition};
use crate::xml::{self, Element, Writer};
use md5::{Digest, Md5};

/// How often it begins anew because parts were uploaded meanwhile.
const TRIES: u32 = 5;

/// CompleteMultipartUpload
pub fn complete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    metadata::refuse_unsupported(call.headers())?;
    let precondition = conditions::of_write(call);
    let claims = Claims::parse(call.headers())?;
    let listed = parse_list(&read_document(call)?)?;
    let bucket = call.bucket()?;
    let upload_id = call.param("uploadId").unwrap_or_default();
    for _ in 0..TRIES {
        let Some(upload) = call.app.store.upload(bucket.id, call.key()?, upload_id)? else {
            return repeated(call, &bucket, upload_id, &listed);
        };
        let stored = call.app.store.parts(upload.manifest, 0, MAX_PARTS as usize)?;
        let encryption = encryption::of_complete(call, &upload, &stored)?;
        if let Some((done, fresh, modified_ms)) =
            attempt(call, &bucket, &upload, stored, &listed, &claims, &precondition)?
        {
            let response = fresh.with_expiration(answer(call, &done)?, modified_ms);
            return Ok(Key::describe(encryption.as_ref(), response));
        }
    }
    Err(Code::SlowDown.into())
}

/// Reads the body. The x-amz-checksum-* headers are not about it, but about the object; Content-MD5
/// is.
fn read_document(call: &mut Call<'_, '_>) -> Result<Vec<u8>, S3Error> {
    let (document, _) = call.whole_body()?;
    let md5 = call.header("content-md5").map(|v| ("content-md5", v));
    let headers = Headers::new(md5);
    receive::verify_document(&headers, &Trailers::new(), &document)?;
    Ok(document)
}

/// Completes an upload; what was written, and when. `None` if it changed under our eyes.
fn attempt(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    upload: &Upload,
    stored: Vec<Part>,
    listed: &[Listed],
    claims: &Claims,
    precondition: &Precondition,
) -> Result<Option<(Completed, Fresh, i64)>, S3Error> {
    let parts = choose(stored, listed, &upload.upload_id)?;
    check_part_checksums(&parts, listed)?;
    check_sizes(&parts)?;
    let size = parts.iter().map(|part| part.size).sum();
    claims.check_size(size)?;
    let checksum = claims.object_checksum(upload.checksum, &parts)?;
    let md5s = parts.iter().map(|part| part.md5);
    let etag = object_etag(md5s, parts.len());
    let crc64 = checksums::crc64(&parts);
    let new = NewObject {
        key: upload.key.clone(),
        size,
        etag: etag.clone(),
        crc64,
        checksum: checksum.clone(),
        meta: upload.meta.clone(),
        owner: upload.owner.clone(),
        data: NewData::Empty,
        extra: upload.extra.clone(),
    };
    let numbers = parts.iter().map(|part| part.number).collect();
    let fresh = Fresh::of(call, bucket, &new);
    let store = call.creating(bucket, Event::CreatedMultipart);
    match store.complete_upload(bucket.id, upload, numbers, new, precondition.clone())? {
        Ok(stored) => {
            let checksum = Some(Checksum::of_object(checksum, crc64));
            let done = Completed { etag, checksum, version_id: stored.version_id };
            Ok(Some((done, fresh, stored.modified_ms)))
        }
        Err(Refused::PartsChanged | Refused::NoSuchUpload) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

/// The answer to an upload that is not there: if it was completed with these very parts, the same
/// as then, since the client may not have received it.
fn repeated(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    upload_id: &str,
    listed: &[Listed],
) -> Result<Response, S3Error> {
    let md5s: Option<Vec<[u8; 16]>> = listed.iter().map(|part| part.etag.md5()).collect();
    let etag = md5s.map(|md5s| object_etag(md5s.into_iter(), listed.len()));
    match call.app.store.completed(bucket.id, call.key()?, upload_id)? {
        Some(done) if Some(&done.etag) == etag.as_ref() => answer(call, &done),
        _ => Err(no_such_upload(upload_id)),
    }
}

fn answer(call: &Call<'_, '_>, done: &Completed) -> Result<Response, S3Error> {
    let mut xml = Writer::with_capacity(1024);
    xml.root("CompleteMultipartUploadResult");
    xml.text("Location", &location(call));
    xml.text("Bucket", call.bucket_name()?.as_str());
    xml.text("Key", call.key()?.as_str());
    xml.etag("ETag", done.etag.as_str());
    if let Some(checksum) = &done.checksum {
        xml.text(checksum.algorithm.element(), &checksum.text());
        xml.text("ChecksumType", checksum.kind.name());
    }
    xml.close("CompleteMultipartUploadResult");
    Ok(versioning::name(document(200, xml), done.version_id))
}

/// The URL of the object, as the client reached it. The path is as it came: percent-encoded, and
/// with the bucket in it or not.
fn location(call: &Call<'_, '_>) -> String {
    let forwarded = |name| call.header(name).filter(|_| call.app.auth.trust_forwarded);
    let scheme = match forwarded("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    let host = forwarded("x-forwarded-host").or(call.header("host")).unwrap_or_default();
    format!("{scheme}://{host}{}", call.request.path)
}

/// The entity tag of an object made of parts with these MD5s.
fn object_etag(md5s: impl Iterator<Item = [u8; 16]>, count: usize) -> ETag {
    let mut hasher = Md5::new();
    md5s.for_each(|md5| hasher.update(md5));
    ETag::from_parts(&hasher.finalize().into(), count)
}

// ---- the list of parts -------------------------------------------------------------------

/// A part as the client lists it.
#[derive(PartialEq, Debug)]
struct Listed {
    number: u32,
    etag: ETag,
    /// Its checksums; `None` for one that cannot be a value of its algorithm.
    checksums: Vec<(ChecksumAlgorithm, Option<Vec<u8>>)>,
}

/// The parts of a CompleteMultipartUpload document, in ascending order. A number that comes twice is
/// refused, as by AWS: whoever lists two parts of one number has lost the first.
fn parse_list(document: &[u8]) -> Result<Vec<Listed>, S3Error> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let list = xml::parse(document, "CompleteMultipartUpload").map_err(|_| malformed())?;
    let parts: Vec<Listed> = list.children("Part").map(Listed::parse).collect::<Result<_, _>>()?;
    if parts.is_empty() || parts.len() > MAX_PARTS as usize {
        return Err(malformed());
    }
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Code::InvalidPartOrder.into());
    }
    Ok(parts)
}

impl Listed {
    fn parse(part: &Element) -> Result<Self, S3Error> {
        let text = |name| part.child_text(name).ok_or(S3Error::from(Code::MalformedXML));
        let number = text("PartNumber")?.trim().parse().map_err(|_| Code::MalformedXML)?;
        let etag = ETag::from_text(text("ETag")?);
        let mut checksums = Vec::new();
        for element in part.children.iter().filter(|e| e.name.starts_with("Checksum")) {
            let algorithm = ChecksumAlgorithm::ALL
                .into_iter()
                .find(|a| a.element() == element.name)
                .ok_or_else(|| {
                    Code::NotImplemented.with(format!("{} is not implemented.", element.name))
                })?;
            checksums.push((algorithm, algorithm.decode(&element.text)));
        }
        Ok(Self { number, etag, checksums })
    }
}

/// Of the stored parts those that are listed; InvalidPart if one is not there or is another.
fn choose(stored: Vec<Part>, listed: &[Listed], upload_id: &str) -> Result<Vec<Part>, S3Error> {
    let mut chosen = Vec::with_capacity(listed.len());
    let mut stored = stored.into_iter();
    for want in listed {
        // Both are in ascending order.
        let part = stored.find(|part| part.number >= want.number);
        match part.filter(|p| p.number == want.number && ETag::from_md5(&p.md5) == want.etag) {
            Some(part) => chosen.push(part),
            None => return Err(invalid_part(want).element("UploadId", upload_id)),
        }
    }
    Ok(chosen)
}

fn invalid_part(part: &Listed) -> S3Error {
    S3Error::from(Code::InvalidPart)
        .element("PartNumber", part.number.to_string())
        .element("ETag", part.etag.as_str())
}

/// Compares the listed checksums with those of the parts. AWS wants them all if the upload's are
/// composite; we compare what is there, since each part was verified when it came and its entity
/// tag says that it is the part that the client means.
fn check_part_checksums(parts: &[Part], listed: &[Listed]) -> Result<(), S3Error> {
    for (part, listed) in parts.iter().zip(listed) {
        for (algorithm, value) in &listed.checksums {
            if value.is_none() || checksums::of_part(*algorithm, part) != *value {
                return Err(invalid_part(listed));
            }
        }
    }
    Ok(())
}

/// All parts but the last have a minimum size, and all together a maximum.
fn check_sizes(parts: &[Part]) -> Result<(), S3Error> {
    let but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    if let Some(small) = but_last.iter().find(|part| part.size < MIN_PART_BYTES) {
        return Err(S3Error::from(Code::EntityTooSmall)
            .element("ProposedSize", small.size.to_string())
            .element("MinSizeAllowed", MIN_PART_BYTES.to_string())
            .element("PartNumber", small.number.to_string())
            .element("ETag", ETag::from_md5(&small.md5).as_str()));
    }
    if parts.iter().map(|part| part.size).sum::<u64>() > MAX_OBJECT_BYTES {
        return Err(Code::EntityTooLarge.into());
    }
    Ok(())
}

// ---- what the headers say of the object --------------------------------------------------

/// What the client says that the object will be.
#[derive(Default, PartialEq, Debug)]
struct Claims {
    checksum: Option<ClaimedChecksum>,
    kind: Option<ChecksumType>,
    size: Option<u64>,
}

/// The value of an x-amz-checksum-* header.
#[derive(PartialEq, Debug)]
struct ClaimedChecksum {
    algorithm: ChecksumAlgorithm,
    value: Vec<u8>,
    /// The number behind the dash of a composite one.
    parts: Option<u32>,
}

impl Claims {
    fn parse(headers: &Headers) -> Result<Self, S3Error> {
        let mut claims = Self::default();
        for algorithm in ChecksumAlgorithm::ALL {
            let Some(text) = headers.get(algorithm.header()) else { continue };
            let claimed = ClaimedChecksum::parse(algorithm, text);
            // A value that no object can have.
            let claimed = claimed.ok_or_else(|| mismatch(algorithm))?;
            if claims.checksum.replace(claimed).is_some() {
                return Err(Code::InvalidRequest.with(
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not \
                     allowed.",
                ));
            }
        }
        claims.kind = headers.get("x-amz-checksum-type").map(checksums::parse_type).transpose()?;
        if let Some(text) = headers.get("x-amz-mp-object-size") {
            let size = text.parse().map_err(|_| {
                let message = "Value for x-amz-mp-object-size header is invalid.";
                S3Error::argument("x-amz-mp-object-size", text, message)
            })?;
            claims.size = Some(size);
        }
        Ok(claims)
    }

    fn check_size(&self, size: u64) -> Result<(), S3Error> {
        match self.size {
            Some(claimed) if claimed != size => Err(Code::InvalidRequest.with(format!(
                "The provided 'x-amz-mp-object-size' header value {claimed} does not match what \
                 was computed: {size}"
            ))),
            _ => Ok(()),
        }
    }

    /// The checksum that the object gets: the upload's kind, or what the client claims now; none if
    /// neither. A claim that is not true is BadDigest.
    fn object_checksum(
        &self,
        of_upload: Option<(ChecksumAlgorithm, ChecksumType)>,
        parts: &[Part],
    ) -> Result<Option<Checksum>, S3Error> {
        let Some((algorithm, kind)) = self.algorithm_and_type(of_upload)? else { return Ok(None) };
        let checksum = checksums::of_parts(algorithm, kind, parts).ok_or_else(|| {
            Code::InvalidRequest.with(format!(
                "The parts have no {} checksums that the object's could be made of.",
                algorithm.name()
            ))
        })?;
        if let Some(claimed) = &self.checksum {
            let same = claimed.value == checksum.value
                && claimed.parts.is_none_or(|count| count == checksum.parts);
            if !same {
                return Err(mismatch(algorithm));
            }
        }
        Ok(Some(checksum))
    }

    fn algorithm_and_type(
        &self,
        of_upload: Option<(ChecksumAlgorithm, ChecksumType)>,
    ) -> Result<Option<(ChecksumAlgorithm, ChecksumType)>, S3Error> {
        let Some((algorithm, kind)) = of_upload else {
            let Some(claimed) = &self.checksum else { return Ok(None) };
            let algorithm = claimed.algorithm;
            let full = claimed.parts.is_none() && algorithm.allows(ChecksumType::FullObject);
            let guess = if full { ChecksumType::FullObject } else { ChecksumType::Composite };
            let kind = self.kind.unwrap_or(guess);
            return match algorithm.allows(kind) {
                true => Ok(Some((algorithm, kind))),
                false => Err(mismatch(algorithm)),
            };
        };
        if let Some(claimed) = self.checksum.as_ref().filter(|c| c.algorithm != algorithm) {
            return Err(super::another_algorithm(algorithm, claimed.algorithm));
        }
        if self.kind.is_some_and(|claimed| claimed != kind) {
            return Err(Code::InvalidRequest.with(format!(
                "The upload was created using the {} checksum mode. The complete request must use \
                 the same checksum mode.",
                kind.name()
            )));
        }
        Ok(of_upload)
    }
}

impl ClaimedChecksum {
    fn parse(algorithm: ChecksumAlgorithm, text: &str) -> Option<Self> {
        // Base64 has no dash.
        let (value, parts) = match text.rsplit_once('-') {
            None => (text, None),
            Some((value, parts)) => (value, Some(parts.parse().ok()?)),
        };
        Some(Self { algorithm, value: algorithm.decode(value)?, parts })
    }
}

fn mismatch(algorithm: ChecksumAlgorithm) -> S3Error {
    Code::BadDigest.with(format!(
        "The {} you specified did not match the calculated checksum.",
        algorithm.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::{Crc32, Crc64nvme, Sha256};
    use ChecksumType::{Composite, FullObject};

    fn part(number: u32, size: u64) -> Part {
        Part {
            number,
            size,
            md5: [number as u8; 16],
            crc64: u64::from(number),
            checksum: Some(Checksum::full(Crc32, vec![number as u8; 4])),
            modified_ms: 0,
            blob: None,
            seal: None,
        }
    }

    fn listed(number: u32) -> Listed {
        Listed { number, etag: ETag::from_md5(&[number as u8; 16]), checksums: Vec::new() }
    }

    fn list(inside: &str) -> Result<Vec<Listed>, Code> {
        let document = format!("<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>");
        parse_list(document.as_bytes()).map_err(|e| e.code)
    }

    fn entry(number: &str) -> String {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"e{number}\"</ETag></Part>")
    }

    #[test]
    fn lists_of_parts() {
        let parts = list(&format!(
            "{}<Part><ETag>x</ETag><PartNumber> 7 </PartNumber><ChecksumCRC32>AAAAAQ==\
             </ChecksumCRC32><ChecksumSHA256>bad</ChecksumSHA256><Other/></Part>",
            entry("3")
        ))
        .unwrap();
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (3, "e3"));
        assert_eq!(parts[1].number, 7);
        assert_eq!(parts[1].checksums, [(Crc32, Some(vec![0, 0, 0, 1])), (Sha256, None)]);
        for bad in [
            "",
            "<Part/>",
            "<Part><PartNumber>1</PartNumber></Part>",
            "<Part><ETag>1</ETag></Part>",
            &entry("x"),
            &entry("-1"),
            &entry(""),
        ] {
            assert_eq!(list(bad), Err(Code::MalformedXML), "{bad}");
        }
        assert_eq!(list(&(entry("2") + &entry("1"))), Err(Code::InvalidPartOrder));
        assert_eq!(list(&(entry("2") + &entry("2"))), Err(Code::InvalidPartOrder));
        let unknown = "<Part><PartNumber>1</PartNumber><ETag>1</ETag><ChecksumMD5/></Part>";
        assert_eq!(list(unknown), Err(Code::NotImplemented));
        let all: String = (1..=MAX_PARTS).map(|n| entry(&n.to_string())).collect();
        assert_eq!(list(&all).unwrap().len(), MAX_PARTS as usize);
        assert_eq!(list(&(all + &entry("10001"))), Err(Code::MalformedXML));
        assert_eq!(parse_list(b"").unwrap_err().code, Code::MalformedXML);
    }

    #[test]
    fn chooses_what_is_listed() {
        let stored = || vec![part(1, 1), part(2, 1), part(5, 1)];
        let chosen = |list: &[Listed]| {
            choose(stored(), list, "u")
                .map(|parts| parts.iter().map(|p| p.number).collect::<Vec<_>>())
                .map_err(|e| e.code)
        };
        assert_eq!(chosen(&[listed(1), listed(2), listed(5)]), Ok(vec![1, 2, 5]));
        assert_eq!(chosen(&[listed(2)]), Ok(vec![2]));
        assert_eq!(chosen(&[listed(1), listed(3), listed(5)]), Err(Code::InvalidPart));
        assert_eq!(chosen(&[listed(9999)]), Err(Code::InvalidPart));
        let other = Listed { etag: ETag::from_text("ff"), ..listed(2) };
        assert_eq!(chosen(&[listed(1), other]), Err(Code::InvalidPart));
    }

    #[test]
    fn sizes() {
        let check = |sizes: &[u64]| {
            let parts: Vec<Part> = (1..).zip(sizes).map(|(n, &size)| part(n, size)).collect();
            check_sizes(&parts).map_err(|e| e.code)
        };
        assert_eq!(check(&[1]), Ok(()));
        assert_eq!(check(&[MIN_PART_BYTES, 0]), Ok(()));
        assert_eq!(check(&[MIN_PART_BYTES - 1, 1]), Err(Code::EntityTooSmall));
        assert_eq!(check(&[MAX_OBJECT_BYTES, 1]), Err(Code::EntityTooLarge));
    }

    #[test]
    fn checksums_of_listed_parts() {
        let check = |checksums| {
            let list = [Listed { checksums, ..listed(1) }];
            check_part_checksums(&[part(1, 1)], &list).map_err(|e| e.code)
        };
        let right = || (Crc32, Some(vec![1; 4]));
        assert_eq!(check(vec![]), Ok(()));
        assert_eq!(check(vec![right()]), Ok(()));
        assert_eq!(check(vec![(Crc32, Some(vec![2; 4]))]), Err(Code::InvalidPart));
        assert_eq!(check(vec![right(), (Sha256, None)]), Err(Code::InvalidPart));
        let crc64 = 1u64.to_be_bytes().to_vec();
        assert_eq!(check(vec![(Crc64nvme, Some(crc64))]), Ok(()));
    }

    fn claims(fields: &[(&str, &str)]) -> Result<Claims, Code> {
        Claims::parse(&Headers::new(fields.iter().copied())).map_err(|e| e.code)
    }

    #[test]
    fn claims_about_the_object() {
        let crc32 = "x-amz-checksum-crc32";
        let claim = claims(&[(crc32, "AAAAAQ==-2"), ("x-amz-mp-object-size", "7")]).unwrap();
        let checksum = claim.checksum.as_ref().unwrap();
        assert_eq!((checksum.algorithm, checksum.parts), (Crc32, Some(2)));
        assert!(claim.check_size(7).is_ok());
        assert_eq!(claim.check_size(8).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(claims(&[(crc32, "bad")]), Err(Code::BadDigest));
        assert_eq!(claims(&[(crc32, "AAAAAQ==-x")]), Err(Code::BadDigest));
        let two = [(crc32, "AAAAAQ=="), ("x-amz-checksum-crc64nvme", "AAAAAAAAAAE=")];
        assert_eq!(claims(&two), Err(Code::InvalidRequest));
        assert_eq!(claims(&[("x-amz-checksum-type", "HALF")]), Err(Code::InvalidRequest));
        assert_eq!(claims(&[("x-amz-mp-object-size", "x")]), Err(Code::InvalidArgument));
    }

    #[test]
    fn the_checksum_of_the_object() {
        let parts = [part(1, MIN_PART_BYTES), part(2, 9)];
        let checksum = |fields: &[(&str, &str)], of_upload| {
            claims(fields).unwrap().object_checksum(of_upload, &parts).map_err(|e| e.code)
        };
        assert_eq!(checksum(&[], None), Ok(None));
        let full = checksum(&[], Some((Crc32, FullObject))).unwrap().unwrap();
        let composite = checksum(&[], Some((Crc32, Composite))).unwrap().unwrap();
        assert_eq!(composite.parts, 2);
        let crc32 = "x-amz-checksum-crc32";
        for of_upload in [None, Some((Crc32, FullObject))] {
            let got = checksum(&[(crc32, &full.text())], of_upload).unwrap();
            assert_eq!(got.as_ref(), Some(&full));
            assert_eq!(checksum(&[(crc32, "AAAAAQ==")], of_upload), Err(Code::BadDigest));
        }
        for of_upload in [None, Some((Crc32, Composite))] {
            let got = checksum(&[(crc32, &composite.text())], of_upload).unwrap();
            assert_eq!(got.as_ref(), Some(&composite));
        }
        let three = composite.text().replace("-2", "-3");
        assert_eq!(checksum(&[(crc32, &three)], None), Err(Code::BadDigest));
        let other = [("x-amz-checksum-type", "COMPOSITE")];
        assert_eq!(checksum(&other, Some((Crc32, FullObject))), Err(Code::InvalidRequest));
        let crc64 = Some((Crc64nvme, FullObject));
        assert_eq!(checksum(&[(crc32, &full.text())], crc64), Err(Code::InvalidRequest));
        let sha = [("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")];
        assert_eq!(checksum(&sha, None), Err(Code::InvalidRequest));
    }

    /// MD5 of the MD5s of "a" and "b", in hex by md5sum(1).
    #[test]
    fn entity_tags() {
        let md5s = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"]
            .map(|hex| ETag::from_text(hex).md5().unwrap());
        let etag = object_etag(md5s.into_iter(), 2);
        assert_eq!(etag.as_str(), "96e024ba2074fe77e8e965ba43a704be-2");
    }
}
