//! A measurement as a table for people and as JSON for programs.

use serde_json::{Map, Value};

use syncnet::admin::output::{grouped, table};

/// One figure or word of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Count(u64),
    /// A number with one digit after the point, or three if it is below ten.
    Number(f64),
    Text(String),
    /// There is no such figure in this row.
    Nothing,
}

/// A table of measurements. Column names carry their units last and are the keys of the JSON form.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was measured, in one sentence.
    pub title: String,
    /// The columns; the first one names the row.
    pub columns: Vec<&'static str>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// What a reader must know to judge the figures.
    pub notes: Vec<String>,
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Cell::Count(count) => grouped(*count),
            Cell::Number(number) if number.abs() < 10.0 => format!("{number:.3}"),
            Cell::Number(number) => format!("{number:.1}"),
            Cell::Text(text) => text.clone(),
            Cell::Nothing => "-".into(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Count(count) => (*count).into(),
            // A number that is not finite has no form in JSON and becomes null.
            Cell::Number(number) => (*number).into(),
            Cell::Text(text) => text.as_str().into(),
            Cell::Nothing => Value::Null,
        }
    }
}

impl Report {
    /// The table, with its title above and its notes below.
    pub fn text(&self) -> String {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let mut text = format!("{}\n{}", self.title, table(&self.columns, &rows, 1));
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let row = |row: &Vec<Cell>| -> Value {
            let fields = self.columns.iter().zip(row);
            fields.map(|(column, cell)| ((*column).to_owned(), cell.json())).collect::<Map<_, _>>().into()
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        format!("{}\n", serde_json::json!({ "title": self.title, "rows": rows, "notes": self.notes }))
    }
}
