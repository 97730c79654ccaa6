//! A terminal's own sixteen colours, in the sequences that every terminal knows. Crossterm writes them as if
//! there were 256 (`38;5;6`): a terminal that does not know those takes the 5 for "blinking".

use std::io::{self, Write};

use ratatui::{
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    crossterm::{cursor::MoveTo, queue},
    layout::{Position, Size},
    style::{Color, Modifier},
};

/// What a modifier is called in a sequence.
const MODIFIERS: [(Modifier, u8); 7] = [
    (Modifier::BOLD, 1),
    (Modifier::DIM, 2),
    (Modifier::ITALIC, 3),
    (Modifier::UNDERLINED, 4),
    (Modifier::REVERSED, 7),
    (Modifier::HIDDEN, 8),
    (Modifier::CROSSED_OUT, 9),
];

/// Crossterm's backend with its own way to write cells.
pub struct PaletteBackend<W: Write>(CrosstermBackend<W>);

impl<W: Write> PaletteBackend<W> {
    pub fn new(writer: W) -> PaletteBackend<W> {
        PaletteBackend(CrosstermBackend::new(writer))
    }
}

impl<W: Write> Backend for PaletteBackend<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut style = String::from("0");
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                queue!(self.0, MoveTo(x, y))?;
            }
            next = Some((x + 1, y));
            let wanted = style_of(cell);
            if wanted != style {
                write!(self.0, "\u{1b}[{wanted}m")?;
                style = wanted;
            }
            self.0.write_all(cell.symbol().as_bytes())?;
        }
        self.0.write_all(b"\x1b[0m")
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.0.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.0.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.0.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        self.0.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.0.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.0)
    }
}

/// The numbers of a cell's look, all that came before taken back.
fn style_of(cell: &Cell) -> String {
    let modifiers = MODIFIERS.iter().filter(|(modifier, _)| cell.modifier.contains(*modifier));
    let numbers = modifiers.map(|(_, number)| *number);
    let colours = [(cell.fg, 0), (cell.bg, 10)];
    let colours = colours.into_iter().filter_map(|(colour, layer)| Some(number_of(colour)? + layer));
    numbers.chain(colours).fold("0".to_owned(), |style, number| format!("{style};{number}"))
}

/// The number of a letter's colour, from the terminal's own; there are no others here.
fn number_of(colour: Color) -> Option<u8> {
    let number = match colour {
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => return None,
        Color::Black => 30,
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::Gray => 37,
        Color::DarkGray => 90,
        Color::LightRed => 91,
        Color::LightGreen => 92,
        Color::LightYellow => 93,
        Color::LightBlue => 94,
        Color::LightMagenta => 95,
        Color::LightCyan => 96,
        Color::White => 97,
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use ratatui::{buffer::Buffer, layout::Rect, style::Style};

    use super::*;

    #[test]
    fn sixteen_colours_are_enough() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 2));
        buffer.set_string(0, 0, "a", Style::new().fg(Color::Cyan));
        buffer.set_string(1, 0, "b", Style::new().fg(Color::Cyan));
        let loud = Modifier::BOLD | Modifier::REVERSED;
        buffer.set_string(2, 0, "界", Style::new().fg(Color::LightBlue).bg(Color::Red).add_modifier(loud));
        buffer.set_string(0, 1, "d", Style::new());
        let mut written = vec![];
        let cells = [(0, 0), (1, 0), (2, 0), (0, 1)].map(|(x, y)| (x, y, &buffer[(x, y)]));
        PaletteBackend::new(&mut written).draw(cells.into_iter()).unwrap();
        let expected = "\x1b[1;1H\x1b[0;36mab\x1b[0;1;7;94;41m界\x1b[2;1H\x1b[0md\x1b[0m";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
