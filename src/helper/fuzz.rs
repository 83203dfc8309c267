//! Frames of any bytes, for the fuzz targets.

use super::protocol::{Order, Word, read_frame, write_frame};

/// What either side may be sent.
pub fn frames(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("an event loop");
    runtime.block_on(async {
        let mut orders = data;
        while let Ok(Some(order)) = read_frame::<Order>(&mut orders).await {
            let mut out = Vec::new();
            write_frame(&mut out, &order).await.expect("what was read is written");
            read_frame::<Order>(&mut &*out).await.expect("and read again");
        }
        let mut words = data;
        while let Ok(Some(word)) = read_frame::<Word>(&mut words).await {
            let mut out = Vec::new();
            write_frame(&mut out, &word).await.expect("what was read is written");
            read_frame::<Word>(&mut &*out).await.expect("and read again");
        }
    });
}
