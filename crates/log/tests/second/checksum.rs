//! CRC-32C, a table of 256 and one byte at a time.

const POLYNOMIAL_REVERSED: u32 = 0x82f6_3b78;

#[allow(clippy::indexing_slicing, reason = "8 bits, and a table of 256")]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "less than 256")]
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL_REVERSED * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Of the bytes of all parts, in their order.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(!0, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let place = usize::from(low ^ byte);
        (crc >> 8) ^ TABLE.get(place).copied().unwrap_or_default()
    })
}

#[test]
fn is_castagnolis() {
    // RFC 3720, B.4.
    assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
    assert_eq!(crc32c(&[&[0xff; 16], &[0xff; 16]]), 0x62a8_ab43);
    assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283);
}
