//! The terminal: taken over, painted, and always restored.

use std::{
    env,
    io::{self, Stdout, Write, stdout},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use ratatui::{
    Terminal,
    backend::Backend,
    buffer::Buffer,
    crossterm::{
        cursor::{Hide, MoveTo, Show},
        event::{
            DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste,
            EnableFocusChange, EnableMouseCapture,
        },
        execute, queue,
        style::Print,
        terminal::{self, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen},
    },
    layout::{Position, Size},
};

use super::{
    layout::text::{cut, one_line, width},
    model::Model,
    palette::PaletteBackend,
    uneven::{self, UnevenRows},
    view::{self, Link},
};

/// Whether the program has taken the terminal over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while the program has it. Dropping this restores it.
pub struct Screen {
    terminal: Terminal<PaletteBackend<Stdout>>,
    /// The web addresses of the last picture.
    links: Vec<Link>,
    uneven: UnevenRows,
    has_links: bool,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal over. A panic of any thread restores it before the panic is reported.
    pub fn take(mouse: bool) -> io::Result<Screen> {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
        let terminal = Terminal::new(PaletteBackend::new(stdout()))?;
        let variable = |name| env::var(name).unwrap_or_default();
        let has_links = has_links(&variable("TERM"), &variable("TERM_PROGRAM"));
        let mut screen =
            Screen { terminal, links: vec![], uneven: UnevenRows::default(), has_links, mouse: false };
        screen.enter()?;
        screen.set_mouse(mouse)?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        // A row that takes more columns than it should must not run into the next one.
        execute!(stdout(), EnterAlternateScreen, DisableLineWrap, EnableBracketedPaste, EnableFocusChange)
    }

    /// Switches on or off that the program gets the mouse's events.
    pub fn set_mouse(&mut self, mouse: bool) -> io::Result<()> {
        if self.mouse == mouse {
            return Ok(());
        }
        self.mouse = mouse;
        if mouse { execute!(stdout(), EnableMouseCapture) } else { execute!(stdout(), DisableMouseCapture) }
    }

    pub fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    pub fn paint(&mut self, model: &Model) -> io::Result<()> {
        let mut drawn = view::Drawn::default();
        let frame = self.terminal.draw(|frame| {
            drawn = view::draw(model, frame.buffer_mut());
            if let Some(cursor) = drawn.cursor {
                frame.set_cursor_position(cursor);
            }
        })?;
        if !self.has_links {
            drawn.links.clear();
        }
        let uneven = self.uneven.changed(frame.buffer);
        if !uneven.is_empty() || drawn.links != self.links {
            let buffer = frame.buffer.clone();
            queue!(stdout(), Hide)?;
            self.paint_rows(&buffer, &uneven)?;
            self.paint_links(&buffer, &drawn)?;
            if let Some(cursor) = drawn.cursor {
                self.terminal.backend_mut().set_cursor_position(cursor)?;
                queue!(stdout(), Show)?;
            }
            stdout().flush()?;
        }
        self.links = drawn.links;
        Ok(())
    }

    /// Paints whole rows; their links are painted behind it.
    fn paint_rows(&mut self, buffer: &Buffer, rows: &[u16]) -> io::Result<()> {
        self.links.retain(|link| !rows.contains(&link.at.y));
        for &y in rows {
            for run in uneven::runs(buffer, y) {
                self.terminal.backend_mut().draw(run.into_iter())?;
            }
        }
        Ok(())
    }

    /// Paints the cells once more that have another address than before: their letters may be the same.
    fn paint_links(&mut self, buffer: &Buffer, drawn: &view::Drawn) -> io::Result<()> {
        let mut out = stdout();
        let gone = self.links.iter().filter(|link| !drawn.links.contains(link));
        let new = drawn.links.iter().filter(|link| !self.links.contains(link));
        for (link, address) in
            gone.map(|link| (link, "")).chain(new.map(|link| (link, link.address.as_str())))
        {
            // Erased first: tmux leaves a cell as it is if it gets the same letter, whatever its address.
            queue!(out, MoveTo(link.at.x, link.at.y), Print(format!("\u{1b}[{}X", link.columns)))?;
            queue!(out, Print(format!("\u{1b}]8;;{address}\u{1b}\\")))?;
            let cells = (link.at.x..link.at.x.saturating_add(link.columns))
                .map(|x| Position::new(x, link.at.y))
                .filter_map(|at| buffer.cell(at).map(|cell| (at.x, at.y, cell)));
            // The second half of a wide letter is no cell of its own.
            let mut covered = 0;
            let cells: Vec<_> = cells
                .filter(|(x, _, cell)| {
                    let is_covered = *x < covered;
                    if !is_covered {
                        covered = x.saturating_add(u16::try_from(width(cell.symbol())).unwrap_or(1));
                    }
                    !is_covered
                })
                .collect();
            self.terminal.backend_mut().draw(cells.into_iter())?;
        }
        queue!(out, Print("\u{1b}]8;;\u{1b}\\"))
    }

    /// Paints everything anew with the next picture.
    pub fn forget(&mut self) -> io::Result<()> {
        self.links.clear();
        self.uneven.forget();
        self.terminal.clear()
    }

    /// Restores the terminal while `work` uses it.
    pub fn lend<T>(&mut self, work: impl FnOnce() -> T) -> io::Result<T> {
        restore();
        let mouse = std::mem::take(&mut self.mouse);
        let done = work();
        self.enter()?;
        self.set_mouse(mouse)?;
        self.forget()?;
        Ok(done)
    }

    pub fn ring(&mut self) -> io::Result<()> {
        execute!(stdout(), Print("\u{7}"))
    }

    /// Shows a notification on the desktop, if the terminal passes one on: by OSC 777, and by OSC 9.
    pub fn notify(&mut self, title: &str, text: &str) -> io::Result<()> {
        // A semicolon separates the fields.
        let clean = |text: &str| cut(&one_line(text).replace(';', ","), 120);
        let (title, text) = (clean(title), clean(text));
        let term = env::var("TERM_PROGRAM").unwrap_or_default();
        let sequence = if matches!(term.as_str(), "iTerm.app" | "WezTerm" | "ghostty")
            || env::var_os("KITTY_WINDOW_ID").is_some()
        {
            format!("\u{1b}]9;{title}: {text}\u{7}")
        } else {
            format!("\u{1b}]777;notify;{title};{text}\u{7}")
        };
        execute!(stdout(), Print(sequence))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal takes links, or at least passes over them. The console of Linux and old multiplexers
/// print sequences that they do not know; tmux does not, though it may call itself a `screen`.
fn has_links(term: &str, program: &str) -> bool {
    program == "tmux" || !["linux", "screen", "vt"].iter().any(|bad| term.starts_with(bad))
}

/// Restores the terminal; does nothing if it was not taken over.
fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // The terminal may be gone; then there is nothing to restore.
    let _ = execute!(
        stdout(),
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        EnableLineWrap,
        LeaveAlternateScreen,
        Show
    );
    let _ = terminal::disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_to_terminals_that_do_not_print_them_as_text() {
        for (term, program) in
            [("xterm-256color", ""), ("tmux-256color", "tmux"), ("screen-256color", "tmux")]
        {
            assert!(has_links(term, program), "{term} of {program}");
        }
        for term in ["linux", "screen", "screen-256color", "vt220"] {
            assert!(!has_links(term, ""), "{term}");
        }
    }
}
