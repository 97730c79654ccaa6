//! A picture of the screen for documents.

use std::fmt::Write;

use ratatui::{
    buffer::{Buffer, CellWidth},
    layout::Position,
    style::{Color, Modifier},
};

const CELL: (u32, u32) = (9, 19);
const MARGIN: u32 = 14;
const PAPER: &str = "#16181d";
const INK: &str = "#d8dce4";
const FAINT: &str = "#7d8492";

fn hex(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#e06c75",
        Color::Green => "#8fbf6f",
        Color::Yellow => "#e5c07b",
        Color::Cyan => "#56b6c2",
        Color::Magenta => "#c678dd",
        Color::LightBlue => "#7aa8f0",
        Color::LightGreen => "#a8d88a",
        Color::LightMagenta => "#e0a0f0",
        _ => INK,
    }
}

/// `buffer` as a picture on a dark ground. Each run of letters says how wide it is, so the columns fit in
/// every font.
pub fn svg(buffer: &Buffer, cursor: Option<Position>) -> String {
    let area = buffer.area();
    let (width, height) =
        (u32::from(area.width) * CELL.0 + 2 * MARGIN, u32::from(area.height) * CELL.1 + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, \
         monospace\" font-size=\"15\" xml:space=\"preserve\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"{PAPER}\"/>\n"
    );
    for y in area.top()..area.bottom() {
        let mut x = area.left();
        while x < area.right() {
            let first = &buffer[(x, y)];
            let (fg, modifier) = (first.fg, first.modifier);
            let (start, mut text) = (x, String::new());
            while x < area.right() && buffer[(x, y)].fg == fg && buffer[(x, y)].modifier == modifier {
                text.push_str(buffer[(x, y)].symbol());
                x += buffer[(x, y)].symbol().cell_width().max(1);
            }
            run(&mut svg, (start, x - start, y), &text, fg, modifier);
        }
    }
    if let Some(cursor) = cursor {
        let (x, y) = place(cursor.x, cursor.y);
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"2\" height=\"{}\" fill=\"{INK}\"/>", CELL.1);
    }
    svg + "</svg>\n"
}

fn place(x: u16, y: u16) -> (u32, u32) {
    (MARGIN + u32::from(x) * CELL.0, MARGIN + u32::from(y) * CELL.1)
}

fn run(svg: &mut String, (x, columns, y): (u16, u16, u16), text: &str, fg: Color, modifier: Modifier) {
    let ((x, y), width) = (place(x, y), u32::from(columns) * CELL.0);
    let mut colour = if modifier.contains(Modifier::DIM) && fg == Color::Reset { FAINT } else { hex(fg) };
    if modifier.contains(Modifier::REVERSED) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/>",
            CELL.1
        );
        colour = PAPER;
    }
    if text.trim().is_empty() {
        return;
    }
    let mut more = String::new();
    for (flag, attribute) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::ITALIC, " font-style=\"italic\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ] {
        if modifier.contains(flag) {
            more += attribute;
        }
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" \
         fill=\"{colour}\"{more}>{text}</text>",
        y + CELL.1 - 5
    );
}
