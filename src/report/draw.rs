//! A small pen over plotters' SVG backend.
//!
//! Places are in CSS pixels with fractions; the backend knows whole numbers only, so everything is
//! drawn four times as large and the `viewBox` takes it back. Colours come from one palette
//! (Okabe and Ito's, told apart by the colour-blind), whose darker-ground twins a style sheet puts
//! in place where the reader prefers a dark scheme.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::paths::shortened;
use super::text::{clean, xml};

const SCALE: f64 = 4.0;
/// The backend divides font sizes by this.
const FONT: f64 = 1.24;

/// A colour on light ground and its twin on dark ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

const fn ink(light: (u8, u8, u8), dark: (u8, u8, u8)) -> Ink {
    Ink { light, dark }
}

pub(super) const GROUND: Ink = ink((254, 254, 254), (22, 27, 34));
pub(super) const TEXT: Ink = ink((31, 35, 40), (230, 237, 243));
pub(super) const MUTED: Ink = ink((89, 99, 110), (154, 164, 175));
pub(super) const GRID: Ink = ink((225, 228, 232), (48, 54, 61));
pub(super) const SHADE: Ink = ink((243, 245, 248), (30, 36, 44));
pub(super) const BLUE: Ink = ink((0, 114, 178), (86, 170, 232));
pub(super) const SKY: Ink = ink((86, 180, 233), (134, 204, 245));
pub(super) const GREEN: Ink = ink((0, 158, 115), (46, 196, 152));
pub(super) const ORANGE: Ink = ink((230, 159, 0), (240, 178, 50));
pub(super) const RED: Ink = ink((213, 94, 0), (255, 132, 56));
pub(super) const PURPLE: Ink = ink((204, 121, 167), (221, 150, 190));

/// Orange that carries white text.
pub(super) const AMBER: Ink = ink((150, 100, 0), (240, 178, 51));

/// Inks that carry text.
const PASS: Ink = ink((0, 110, 80), (46, 196, 152));
const FAIL: Ink = ink((176, 58, 0), (255, 132, 56));
/// Frames of what can be pressed.
const EDGE: Ink = ink((190, 197, 205), (76, 84, 94));

const INKS: [(&str, Ink); 15] = [
    ("pass", PASS),
    ("fail", FAIL),
    ("edge", EDGE),
    ("amber", AMBER),
    ("ground", GROUND),
    ("text", TEXT),
    ("muted", MUTED),
    ("grid", GRID),
    ("shade", SHADE),
    ("blue", BLUE),
    ("sky", SKY),
    ("green", GREEN),
    ("orange", ORANGE),
    ("red", RED),
    ("purple", PURPLE),
];

impl Ink {
    const fn color(self) -> RGBColor {
        RGBColor(self.light.0, self.light.1, self.light.2)
    }
}

/// Where a text lies about its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) ink: Ink,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
}

impl Type {
    pub(super) const fn new(size: f64, ink: Ink) -> Self {
        Self { size, ink, anchor: Anchor::Left, bold: false }
    }

    pub(super) const fn at(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// About how wide a text is in this type, in pixels.
    pub(super) fn width(self, text: &str) -> f64 {
        let wide = if self.bold { 0.6 } else { 0.55 };
        crate::analysis::float(text.chars().count() as u64) * self.size * wide
    }
}

/// A picture under way.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

type Point = (f64, f64);

impl<'a> Canvas<'a> {
    /// Draws on `out`, which becomes the body of an SVG once [`close`] is called.
    pub(super) fn new(out: &'a mut String, width: u32, height: u32) -> Self {
        let backend = SVGBackend::with_string(out, (width * 4, height * 4));
        let mut canvas = Self { backend };
        let corner = (f64::from(width), f64::from(height));
        canvas.rect((0.0, 0.0), corner, GROUND, 1.0);
        canvas
    }

    pub(super) fn line(&mut self, points: &[Point], ink: Ink, width: f64) {
        if points.len() < 2 {
            return;
        }
        let style = ShapeStyle {
            color: ink.color().mix(1.0),
            filled: false,
            stroke_width: unsigned(width * SCALE),
        };
        let points = points.iter().map(whole);
        self.backend.draw_path(points, &style).expect("drawing into a string never fails");
    }

    pub(super) fn dashes(&mut self, from: Point, to: Point, ink: Ink, width: f64) {
        const DASH: f64 = 10.0;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        let mut at = 0.0;
        while at < length {
            let end = (at + DASH * 0.6).min(length);
            let place = |at: f64| (from.0 + dx * at / length, from.1 + dy * at / length);
            self.line(&[place(at), place(end)], ink, width);
            at += DASH;
        }
    }

    pub(super) fn area(&mut self, points: &[Point], ink: Ink, opacity: f64) {
        if points.len() < 3 {
            return;
        }
        let points = points.iter().map(whole);
        self.backend
            .fill_polygon(points, &ink.color().mix(opacity))
            .expect("drawing into a string never fails");
    }

    pub(super) fn rect(&mut self, from: Point, to: Point, ink: Ink, opacity: f64) {
        self.backend
            .draw_rect(whole(&from), whole(&to), &ink.color().mix(opacity), true)
            .expect("drawing into a string never fails");
    }

    /// A triangle that points down at a place.
    pub(super) fn mark(&mut self, at: Point, ink: Ink) {
        let (x, y) = (at.0, at.1 - 2.0);
        self.area(&[(x, y), (x - 4.0, y - 7.0), (x + 4.0, y - 7.0)], ink, 1.0);
    }

    /// A text whose middle is at the height of the place.
    pub(super) fn text(&mut self, at: Point, text: &str, kind: Type) {
        let across = match kind.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let weight = if kind.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", kind.size * SCALE * FONT).into_font();
        let color = kind.ink.color();
        let style =
            TextStyle::from(font.style(weight)).color(&color).pos(Pos::new(across, VPos::Center));
        self.backend
            .draw_text(&clean(text, 300), &style, whole(&at))
            .expect("drawing into a string never fails");
    }

    pub(super) fn finish(mut self) {
        self.backend.present().expect("drawing into a string never fails");
    }
}

/// Puts the head of a picture in place of the backend's own: size, title, description, colours.
pub(super) fn close(body: &str, width: u32, height: u32, title: &str, description: &str) -> String {
    let inner = shortened(body.find('>').map_or("", |end| &body[end + 1..]));
    let (title, description) = (xml(&clean(title, 200)), xml(&clean(description, 1000)));
    let style = style_sheet();
    let (wide, high) = (width * 4, height * 4);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n\
         <style>{style}</style>{inner}"
    )
}

fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// The palette as variables of a page's style sheet, with its twins for dark ground.
pub(super) fn variables() -> String {
    use std::fmt::Write;
    let (mut light, mut dark) = (String::new(), String::new());
    for (name, ink) in INKS {
        // Writing to a string never fails.
        let _ = write!(light, "--{name}:{};", hex(ink.light));
        let _ = write!(dark, "--{name}:{};", hex(ink.dark));
    }
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )
}

fn style_sheet() -> String {
    use std::fmt::Write;
    let mut sheet = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',\
                     sans-serif}path{stroke-linejoin:round}\
                     @media (prefers-color-scheme:dark){"
        .to_owned();
    for (_, ink) in INKS {
        let (light, dark) = (hex(ink.light), hex(ink.dark));
        write!(sheet, "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
            .expect("writing into a string never fails");
    }
    sheet.push('}');
    sheet
}

#[expect(clippy::cast_possible_truncation, reason = "places of a picture are far below 2^31")]
fn whole(point: &Point) -> (i32, i32) {
    let round = |value: f64| (value * SCALE).round() as i32;
    (round(point.0), round(point.1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "widths are small and positive"
)]
fn unsigned(value: f64) -> u32 {
    value.round().max(1.0) as u32
}
