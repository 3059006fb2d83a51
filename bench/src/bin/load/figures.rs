//! Percentiles as JSON.

/// `"name_us":{"p50":…,"p90":…,"p99":…,"p999":…,"max":…}` of nanoseconds, in microseconds; -1 where nothing was measured.
pub fn percentiles(name: &str, nanoseconds: impl IntoIterator<Item = u64>) -> String {
    let mut sorted: Vec<u64> = nanoseconds.into_iter().collect();
    sorted.sort_unstable();
    let at = |share: f64| match sorted.len() {
        0 => -1.0,
        count => sorted[((count as f64 * share) as usize).min(count - 1)] as f64 / 1000.0,
    };
    format!(
        "\"{name}_us\":{{\"p50\":{:.1},\"p90\":{:.1},\"p99\":{:.1},\"p999\":{:.1},\"max\":{:.1}}}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}
