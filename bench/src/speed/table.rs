//! The numbers of all runs, and the table of their medians and ratios.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::load::Row;
use crate::proxy::Proxy;

/// The numbers of all runs.
pub struct Table {
    names: Vec<String>,
    rows: Vec<Row>,
    /// By row, proxy and run.
    values: BTreeMap<(Row, usize, usize), f64>,
}

impl Table {
    /// An empty table. The ratios are those of the first proxy to each of the others.
    pub fn new(proxies: &[Proxy], rows: &[Row]) -> Self {
        Self {
            names: proxies.iter().map(|proxy| proxy.name.clone()).collect(),
            rows: rows.to_vec(),
            values: BTreeMap::new(),
        }
    }

    /// Adds the number of one run.
    pub fn add(&mut self, row: Row, proxy: usize, run: usize, value: f64) {
        self.values.insert((row, proxy, run), value);
    }

    /// The numbers of a row and a proxy, by run.
    fn of(&self, row: Row, proxy: usize) -> BTreeMap<usize, f64> {
        let all = self
            .values
            .range((row, proxy, 0)..=(row, proxy, usize::MAX));
        all.map(|((.., run), value)| (*run, *value)).collect()
    }

    /// The ratios of the first proxy to another one, each of two measurements of the same run.
    fn ratios(&self, row: Row, other: usize) -> Vec<f64> {
        let others = self.of(row, other);
        let own = self.of(row, 0);
        own.iter()
            .filter_map(|(run, value)| Some(value / others.get(run)?))
            .collect()
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let first = self.names.first().map_or("", String::as_str);
        let others: Vec<_> = self.names.iter().skip(1).collect();
        write!(out, "\n| row | unit |")?;
        for name in &self.names {
            write!(out, " {name} |")?;
        }
        for name in &others {
            write!(out, " {first} / {name} |")?;
        }
        write!(
            out,
            "\n|---|---|{}",
            "---:|".repeat(self.names.len() + others.len())
        )?;
        for row in &self.rows {
            write!(out, "\n| {} | {} |", row.name(), row.unit())?;
            for proxy in 0..self.names.len() {
                let values = self.of(*row, proxy).into_values().collect();
                write!(out, " {} |", Spread(values))?;
            }
            for proxy in 1..self.names.len() {
                write!(out, " {} |", Spread(self.ratios(*row, proxy)))?;
            }
        }
        Ok(())
    }
}

/// The median, and the least and the largest value.
struct Spread(Vec<f64>);

impl Display for Spread {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut values = self.0.clone();
        values.sort_unstable_by(f64::total_cmp);
        let (Some(least), Some(largest)) = (values.first(), values.last()) else {
            return write!(out, "–");
        };
        let digits = match largest {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        let median = median(&values);
        write!(
            out,
            "{median:.digits$} ({least:.digits$}–{largest:.digits$})"
        )
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (
        sorted.len() % 2,
        sorted.get(middle.saturating_sub(1)),
        sorted.get(middle),
    ) {
        (0, Some(below), Some(above)) => f64::midpoint(*below, *above),
        (_, _, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Family;

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_each_run() {
        let proxies = [Family::Floor.find().unwrap(), Family::Floor.find().unwrap()];
        let mut table = Table::new(&proxies, &[Row::Echo, Row::Plain]);
        for (run, (own, other)) in [(10.0, 20.0), (30.0, 30.0), (12.0, 8.0)]
            .into_iter()
            .enumerate()
        {
            table.add(Row::Echo, 0, run, own);
            table.add(Row::Echo, 1, run, other);
        }
        let text = table.to_string();
        assert!(
            text.contains("| echo | µs | 12.0 (10.0–30.0) | 20.0 (8.0–30.0) | 1.00 (0.50–1.50) |"),
            "{text}"
        );
        assert!(text.contains("| plain | µs | – | – | – |"), "{text}");
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
        assert_eq!(
            Spread(vec![4.0, 1.0, 2.0, 3.0]).to_string(),
            "2.50 (1.00–4.00)"
        );
    }
}
