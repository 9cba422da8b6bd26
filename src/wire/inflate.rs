//! Undoes `Content-Encoding`, without ever holding more than a limit.
//!
//! Not left to the HTTP server: actix inflates a whole chunk before any limit applies, which a
//! bomb of a few kilobytes turns into gigabytes. Reading the body off the network, and keeping that
//! within the same limit, is the caller's part.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use flate2::{Decompress, FlushDecompress, Status, bufread::GzDecoder};

/// Largest zstd window that is decoded, as a power of two: 8 MiB.
///
/// Source: RFC 9659, which bounds it for `Content-Encoding: zstd`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why there is no body. What of it is told to the sender is `RejectReason`'s matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("body is corrupt or in an encoding that is not supported")]
    Unreadable,
    #[error("body inflates to more than is accepted")]
    TooLarge,
}

/// Returns the body as it was before `content_encoding` (any case; absent and empty mean identity),
/// at most `limit` bytes of it.
pub fn inflate<'a>(
    content_encoding: Option<&str>,
    body: &'a [u8],
    limit: usize,
) -> Result<Cow<'a, [u8]>, InflateError> {
    let encoding = content_encoding.unwrap_or("").trim();
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    let inflated = if encoding.is_empty() || is("identity") {
        return if body.len() > limit { Err(InflateError::TooLarge) } else { Ok(body.into()) };
    } else if is("gzip") {
        gunzip(body, limit)?
    } else if is("deflate") {
        inflate_either(body, limit)?
    } else if is("zstd") {
        unzstd(body, limit)?
    } else {
        return Err(InflateError::Unreadable);
    };
    Ok(inflated.into())
}

/// RFC 1952 §2.2: a gzip file is one member or several. Zero bytes after the last one are padding,
/// as for gzip(1) and Python; anything else there is corruption.
fn gunzip(mut body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut inflated = Vec::new();
    loop {
        let mut member = GzDecoder::new(body);
        read_bounded(&mut member, &mut inflated, limit)?;
        body = member.into_inner();
        let padding = body.iter().take_while(|byte| **byte == 0).count();
        body = &body[padding..];
        if body.is_empty() {
            return Ok(inflated);
        }
    }
}

/// RFC 9110 §8.4.1.2: `deflate` is the zlib format, but some senders leave out its wrapper.
fn inflate_either(body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    // RFC 1950 §2.2: method 8, and a check that makes the first two bytes a multiple of 31. A raw
    // stream can look like that by chance, hence the second try.
    let looks_like_zlib = matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31));
    if looks_like_zlib {
        match inflate_stream(Decompress::new(true), body, limit) {
            Err(InflateError::Unreadable) => {}
            result => return result,
        }
    }
    inflate_stream(Decompress::new(false), body, limit)
}

/// Driven by hand, because flate2's readers take a stream that breaks off for one that ended.
fn inflate_stream(
    mut stream: Decompress,
    body: &[u8],
    limit: usize,
) -> Result<Vec<u8>, InflateError> {
    let mut inflated = Vec::with_capacity(first_capacity(body.len(), limit));
    loop {
        let consumed = usize::try_from(stream.total_in()).map_err(|_| InflateError::TooLarge)?;
        let before = inflated.len();
        let status = stream
            .decompress_vec(&body[consumed..], &mut inflated, FlushDecompress::None)
            .map_err(|_| InflateError::Unreadable)?;
        if inflated.len() > limit {
            return Err(InflateError::TooLarge);
        }
        let after = usize::try_from(stream.total_in()).map_err(|_| InflateError::TooLarge)?;
        if status == Status::StreamEnd && after == body.len() {
            return Ok(inflated);
        }
        let has_room = inflated.len() < inflated.capacity();
        let stands_still = after == consumed && inflated.len() == before;
        if status == Status::StreamEnd || (has_room && stands_still) {
            return Err(InflateError::Unreadable);
        }
        if !has_room {
            // One byte beyond the limit is room enough to see that it is exceeded.
            let more = (limit + 1 - inflated.len()).min(inflated.len().max(1024));
            inflated.reserve_exact(more);
        }
    }
}

/// RFC 8878 §3: one frame or several, skippable ones among them.
fn unzstd(body: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let unreadable = |_: io::Error| InflateError::Unreadable;
    if body.is_empty() {
        return Err(InflateError::Unreadable);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(unreadable)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(unreadable)?;
    let mut inflated = Vec::with_capacity(first_capacity(body.len(), limit));
    read_bounded(&mut decoder, &mut inflated, limit)?;
    Ok(inflated)
}

/// Appends all that `source` gives, and refuses as soon as `inflated` exceeds `limit`.
fn read_bounded(
    source: &mut impl Read,
    inflated: &mut Vec<u8>,
    limit: usize,
) -> Result<(), InflateError> {
    let room = (limit + 1).saturating_sub(inflated.len());
    let result = source.take(room as u64).read_to_end(inflated);
    // The limit is judged first: beyond it nobody looks at whether the rest was corrupt.
    if inflated.len() > limit {
        return Err(InflateError::TooLarge);
    }
    result.map(|_| ()).map_err(|_| InflateError::Unreadable)
}

/// JSON events shrink to about a quarter.
fn first_capacity(compressed: usize, limit: usize) -> usize {
    compressed.saturating_mul(4).clamp(64, limit.max(64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    const LIMIT: usize = 10_000;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn raw_deflate(body: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(body: &[u8]) -> Vec<u8> {
        zstd::encode_all(body, 3).unwrap()
    }

    type Encoder = fn(&[u8]) -> Vec<u8>;
    const ENCODERS: [(&str, Encoder); 4] =
        [("gzip", gzip), ("deflate", zlib), ("Deflate", raw_deflate), ("ZSTD", zstd)];

    #[test]
    fn every_encoding_gives_back_what_was_sent_up_to_the_limit() {
        for (name, encode) in ENCODERS {
            for length in [0, 1, 63, 64, 65, 1024, LIMIT - 1, LIMIT] {
                let body: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
                let encoded = encode(&body);
                assert_eq!(inflate(Some(name), &encoded, LIMIT).as_deref(), Ok(&body[..]));
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = vec![b' '; 50_000_000];
        for (name, encode) in ENCODERS {
            let encoded = encode(&bomb);
            assert_eq!(inflate(Some(name), &encoded, LIMIT), Err(InflateError::TooLarge), "{name}");
            let one_more = encode(&bomb[..=LIMIT]);
            assert_eq!(inflate(Some(name), &one_more, LIMIT), Err(InflateError::TooLarge));
        }
        let members = gzip(&bomb[..LIMIT - 1]).repeat(50);
        assert_eq!(inflate(Some("gzip"), &members, LIMIT), Err(InflateError::TooLarge));
    }

    #[test]
    fn what_breaks_off_or_goes_on_is_corrupt() {
        for (name, encode) in ENCODERS {
            let encoded = encode(b"{\"routing_key\":\"0123456789abcdef\"}");
            for length in 0..encoded.len() {
                let result = inflate(Some(name), &encoded[..length], LIMIT);
                assert_eq!(result, Err(InflateError::Unreadable), "{name} {length}");
            }
            let trailing = [&encoded[..], b"garbage"].concat();
            assert_eq!(inflate(Some(name), &trailing, LIMIT), Err(InflateError::Unreadable));
        }
    }

    #[test]
    fn gzip_may_have_several_members_and_padding() {
        let body = [gzip(b"{\"a\""), gzip(b":1}"), vec![0; 5]].concat();

        assert_eq!(inflate(Some("gzip"), &body, LIMIT).as_deref(), Ok(&b"{\"a\":1}"[..]));
    }

    #[test]
    fn no_encoding_is_identity() {
        for name in [None, Some(""), Some(" "), Some("identity"), Some("Identity")] {
            assert_eq!(inflate(name, b"{}", LIMIT).as_deref(), Ok(&b"{}"[..]));
        }
        assert_eq!(inflate(None, &[b' '; LIMIT + 1], LIMIT), Err(InflateError::TooLarge));
    }

    #[test]
    fn several_and_other_encodings_are_unreadable() {
        for name in ["gzip, gzip", "gzip,identity", "br", "compress", "*", "gzip;q=1"] {
            assert_eq!(inflate(Some(name), b"{}", LIMIT), Err(InflateError::Unreadable), "{name}");
        }
    }
}
