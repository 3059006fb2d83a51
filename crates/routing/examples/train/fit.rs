//! The training: landmarks, kinds, ease and spread, traits, difficulty, length, and the line from weak to strong models.
//!
//! Additions, multiplications, divisions and square roots in a fixed order, so that every machine gets the same bits.

use anyhow::Result;
use routing::cholesky::{Cholesky, add_square, dot, triangle};
use routing::heads::{BASIS, Heads, INPUTS, KINDS, LANDMARKS, OUTPUTS, SHARED, TERMS, TRAITS, pull};

use crate::eigen;
use crate::kinds;
use crate::table::{Record, Set, Table};

/// The set of prompts of our own, whose grades are set by hand: what public sets lack.
const OWN: &str = "own";
/// How much one of those counts beside a public one.
const OWN_WEIGHT: f64 = 6.0;
/// Sets whose answers were written out, so that their lengths mean something.
const WRITTEN_OUT: [&str; 4] = [OWN, "routellm_gsm8k", "zeroeval_gsm", "zeroeval_math_l5"];
/// Kinds that were graded by exact words, which says more of the words than of the question.
const GRADED_BY_WORDS: [&str; 2] = ["encyclopedia", "trivia"];
/// Ridge of the kinds.
const KIND_RIDGE: f64 = 150.0;
/// Ridge of everything else.
const RIDGE: f64 = 5000.0;
/// Rounds of moving landmarks, and every how manieth row moves them.
const LANDMARK_ROUNDS: usize = 6;
const LANDMARK_STEP: usize = 4;
/// Rounds of fitting the line from weak to strong models.
const LINE_ROUNDS: usize = 8;
/// How far models stray in what holds for all prompts, in ease and spread; kinds and traits have their own.
const STRAY_OVERALL: f32 = 0.05;
const STRAY_SHARED: f32 = 0.05;

/// A record with what the fit needs of it.
struct Row<'t> {
    record: &'t Record,
    set: usize,
    kind: usize,
    weight: f64,
    inputs: [f32; INPUTS],
    terms: Vec<f64>,
}

/// Trains on the records for which `is_used` says so, by set and group.
pub(crate) fn train(table: &Table, is_used: impl Fn(&Set, u8) -> bool) -> Result<Heads> {
    let mut heads = Heads::from_bytes(&[]);
    let mut rows = rows(table, &is_used)?;
    scale(&mut heads, &mut rows, table);
    place_landmarks(&mut heads, &rows);
    measure_pulls(&mut heads, &mut rows);
    let moments: Vec<Moments> =
        (0..table.sets.len()).map(|set| Moments::of(rows.iter().filter(|row| row.set == set))).collect();
    let mut outputs = Outputs::default();
    outputs.kinds(&rows, &moments);
    outputs.shared(&rows, &moments, table);
    let stray = outputs.traits(&rows, &moments, table);
    outputs.difficulty(&rows, &moments);
    outputs.length(&rows, &moments, table);
    outputs.write(&mut heads);
    draw_line(&mut heads, &rows, table, &stray);
    Ok(heads)
}

fn rows<'t>(table: &'t Table, is_used: &impl Fn(&Set, u8) -> bool) -> Result<Vec<Row<'t>>> {
    let mut rows = Vec::new();
    for (number, set) in table.sets.iter().enumerate() {
        let weight = if set.name == OWN { OWN_WEIGHT } else { 1.0 };
        for record in set.records.iter().filter(|record| is_used(set, record.group)) {
            let kind = kinds::of(&set.name, &record.category)?;
            let mut inputs = [0.0; INPUTS];
            inputs.copy_from_slice(&record.inputs);
            rows.push(Row { record, set: number, kind, weight, inputs, terms: Vec::new() });
        }
    }
    Ok(rows)
}

/// Centres and scales the inputs: features here, vectors already in the table.
fn scale(heads: &mut Heads, rows: &mut [Row<'_>], table: &Table) {
    let features = INPUTS - table.vectors.len();
    let count = rows.len() as f64;
    for place in 0..features {
        let values = || rows.iter().map(|row| f64::from(row.inputs[place]));
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt();
        heads.scale[place] = [mean as f32, (1.0 / deviation.max(LEAST_DEVIATION)) as f32];
    }
    for (scale, [mean, deviation]) in heads.scale[features..].iter_mut().zip(&table.vectors) {
        *scale = [*mean, 1.0 / deviation];
    }
    for row in rows {
        for (input, [mean, scale]) in row.inputs.iter_mut().zip(&heads.scale[..features]) {
            *input = (*input - mean) * scale;
        }
        routing::heads::bound(&mut row.inputs);
    }
}

/// Features that hardly ever differ are not blown up.
const LEAST_DEVIATION: f64 = 0.01;

/// Moves evenly chosen rows to the middle of those nearest to them, some times.
fn place_landmarks(heads: &mut Heads, rows: &[Row<'_>]) {
    let some: Vec<&[f32; INPUTS]> = rows.iter().step_by(LANDMARK_STEP).map(|row| &row.inputs).collect();
    let mut places: Vec<[f32; INPUTS]> = (0..LANDMARKS).map(|number| *some[number * some.len() / LANDMARKS]).collect();
    for _ in 0..LANDMARK_ROUNDS {
        let mut sums = vec![[0.0_f64; INPUTS]; LANDMARKS];
        let mut counts = [0.0_f64; LANDMARKS];
        set_landmarks(heads, &places);
        for inputs in &some {
            let nearest = nearest(heads, inputs);
            counts[nearest] += 1.0;
            sums[nearest].iter_mut().zip(*inputs).for_each(|(sum, input)| *sum += f64::from(*input));
        }
        for (place, (sum, count)) in
            places.iter_mut().zip(sums.iter().zip(counts)).filter(|(_, (_, count))| *count > 0.0)
        {
            place.iter_mut().zip(sum).for_each(|(place, sum)| *place = (sum / count) as f32);
        }
    }
    set_landmarks(heads, &places);
}

fn set_landmarks(heads: &mut Heads, places: &[[f32; INPUTS]]) {
    for (number, place) in places.iter().enumerate() {
        for (row, value) in heads.landmarks.iter_mut().zip(place) {
            row[number] = *value;
        }
        heads.lengths[number] = place.iter().map(|value| value * value).sum();
    }
}

fn nearest(heads: &Heads, inputs: &[f32; INPUTS]) -> usize {
    let mut products = [0.0_f32; LANDMARKS];
    for (input, row) in inputs.iter().zip(&heads.landmarks) {
        products.iter_mut().zip(row).for_each(|(product, value)| *product += input * value);
    }
    let mut best = (0, f32::MAX);
    for (number, (product, length)) in products.iter().zip(heads.lengths).enumerate() {
        let distance = length - 2.0 * product;
        best = if distance < best.1 { (number, distance) } else { best };
    }
    best.0
}

/// Centres and scales the landmarks' pulls, and works out the terms of every row.
fn measure_pulls(heads: &mut Heads, rows: &mut [Row<'_>]) {
    debug_assert!(pull(0.0) == 1.0);
    heads.pulls = vec![[0.0, 1.0]; LANDMARKS];
    let count = rows.len() as f64;
    let pulls: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| heads.terms(&row.inputs)[..LANDMARKS].iter().map(|term| f64::from(*term)).collect())
        .collect();
    for place in 0..LANDMARKS {
        let mean = pulls.iter().map(|pulls| pulls[place]).sum::<f64>() / count;
        let variance = pulls.iter().map(|pulls| (pulls[place] - mean) * (pulls[place] - mean)).sum::<f64>() / count;
        heads.pulls[place] = [mean as f32, (1.0 / variance.sqrt().max(1e-6)) as f32];
    }
    for row in rows {
        row.terms = heads.terms(&row.inputs).iter().map(|term| f64::from(*term)).collect();
    }
}

/// Sums over rows: how many, of their terms, of the squares of these.
#[derive(Clone)]
struct Moments {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn none() -> Moments {
        Moments { count: 0.0, sums: vec![0.0; TERMS], squares: vec![0.0; triangle(TERMS)] }
    }

    fn of<'r>(rows: impl Iterator<Item = &'r Row<'r>>) -> Moments {
        let mut moments = Moments::none();
        for row in rows {
            moments.count += 1.0;
            moments.sums.iter_mut().zip(&row.terms).for_each(|(sum, term)| *sum += term);
            add_square(&mut moments.squares, &row.terms, 1.0);
        }
        moments
    }

    fn add(&mut self, other: &Moments, weight: f64) {
        self.count += weight * other.count;
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += weight * more);
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, more)| *sum += weight * more);
    }

    /// Squares about the mean.
    fn centred(&self) -> Vec<f64> {
        let mut squares = self.squares.clone();
        add_square(&mut squares, &self.sums, -1.0 / self.count.max(1.0));
        squares
    }

    fn mean(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }
}

/// A linear output: weights over the terms, and where it begins.
#[derive(Clone, Default)]
struct Output {
    weights: Vec<f64>,
    bias: f64,
}

/// A row's terms, its target, its weight.
type Sample<'r> = (&'r [f64], f64, f64);

/// Ridge regression of each target about its mean.
fn ridge<'r>(moments: &Moments, ridge: f64, targets: &[Vec<Sample<'r>>]) -> Vec<Output> {
    let mut squares = moments.centred();
    (0..TERMS).for_each(|row| squares[triangle(row) + row] += ridge);
    let factor = Cholesky::of(squares, TERMS);
    let mean = moments.mean();
    targets.iter().map(|samples| solve(&factor, &mean, samples)).collect()
}

fn solve(factor: &Cholesky, mean: &[f64], samples: &[Sample<'_>]) -> Output {
    let count: f64 = samples.iter().map(|(_, _, weight)| weight).sum();
    let middle = samples.iter().map(|(_, target, weight)| target * weight).sum::<f64>() / count.max(1.0);
    let mut weights = vec![0.0; TERMS];
    for (terms, target, weight) in samples {
        let rest = (target - middle) * weight;
        weights.iter_mut().zip(*terms).zip(mean).for_each(|((sum, term), mean)| *sum += rest * (term - mean));
    }
    factor.solve(&mut weights);
    let bias = middle - dot(&weights, mean);
    Output { weights, bias }
}

/// The heads' outputs as they are found, in their order.
#[derive(Default)]
struct Outputs(Vec<Output>);

impl Outputs {
    fn kinds(&mut self, rows: &[Row<'_>], moments: &[Moments]) {
        let all = together(moments, rows, |_| true);
        let targets: Vec<Vec<Sample<'_>>> = (0..KINDS.len())
            .map(|kind| {
                let is = |row: &Row<'_>| if row.kind == kind { 1.0 } else { 0.0 };
                rows.iter().map(|row| (row.terms.as_slice(), is(row), row.weight)).collect()
            })
            .collect();
        self.0.extend(ridge(&all, KIND_RIDGE, &targets));
    }

    /// Ease: the mean grade. Spread: how far the best third of models leads over the weakest.
    fn shared(&mut self, rows: &[Row<'_>], moments: &[Moments], table: &Table) {
        let mut within = Moments::none();
        for (number, set) in table.sets.iter().enumerate().filter(|(_, set)| set.name != OWN) {
            let Some(own) = moments.get(number).filter(|own| own.count > 0.0) else { continue };
            debug_assert!(!set.models.is_empty());
            within.squares.iter_mut().zip(own.centred()).for_each(|(sum, more)| *sum += more);
        }
        within.count = 1.0;
        let mut targets = vec![Vec::new(); SHARED];
        let mut centred: Vec<(Vec<f64>, [f64; SHARED])> = Vec::new();
        for (number, set) in table.sets.iter().enumerate().filter(|(_, set)| set.name != OWN) {
            let own: Vec<&Row<'_>> = rows.iter().filter(|row| row.set == number).collect();
            let mean = moments[number].mean();
            let (strong, weak) = thirds(&own, set.models.len());
            let of: Vec<[f64; SHARED]> = own
                .iter()
                .map(|row| {
                    let all: Vec<usize> = (0..set.models.len()).collect();
                    [mean_grade(row, &all), mean_grade(row, &strong) - mean_grade(row, &weak)]
                })
                .collect();
            let count = of.len().max(1) as f64;
            let middle: [f64; SHARED] = std::array::from_fn(|place| of.iter().map(|of| of[place]).sum::<f64>() / count);
            for (row, of) in own.iter().zip(of) {
                let terms = row.terms.iter().zip(&mean).map(|(term, mean)| term - mean).collect();
                centred.push((terms, std::array::from_fn(|place| of[place] - middle[place])));
            }
        }
        for (terms, of) in &centred {
            targets.iter_mut().zip(of).for_each(|(target, of)| target.push((terms.as_slice(), *of, 1.0)));
        }
        let found = ridge(&within, RIDGE, &targets);
        self.0.extend(found.into_iter().map(|output| normal(output, rows)));
    }

    /// The directions in which the sets' models are predicted to differ most. Returns how far models stray along each.
    fn traits(&mut self, rows: &[Row<'_>], moments: &[Moments], table: &Table) -> Vec<f64> {
        let mut columns: Vec<Vec<f64>> = Vec::new();
        let mut size = 0.0;
        for (number, set) in table.sets.iter().enumerate().filter(|(_, set)| set.name != OWN) {
            let own: Vec<&Row<'_>> = rows.iter().filter(|row| row.set == number).collect();
            if own.is_empty() {
                continue;
            }
            let targets: Vec<Vec<Sample<'_>>> = (0..set.models.len())
                .map(|model| {
                    own.iter().map(|row| (row.terms.as_slice(), row.record.grades[model].unwrap_or(0.0), 1.0)).collect()
                })
                .collect();
            let models = set.models.len() as f64;
            size += models.sqrt();
            let shrink = models.sqrt().sqrt();
            let found = ridge(&moments[number], RIDGE, &targets);
            columns
                .extend(found.into_iter().map(|output| output.weights.iter().map(|weight| weight / shrink).collect()));
        }
        let all = together(moments, rows, |row| row.weight <= 1.0);
        let squares = all.centred();
        let forms: Vec<Vec<f64>> = columns.iter().map(|column| times(&squares, column)).collect();
        let side = columns.len();
        let matrix: Vec<Vec<f64>> = (0..side)
            .map(|row| (0..side).map(|column| dot(&columns[row], &forms[column]) / all.count.max(1.0)).collect())
            .collect();
        let mut stray = Vec::new();
        for (value, vector) in eigen::largest(matrix, TRAITS) {
            let mut weights = vec![0.0; TERMS];
            for (column, share) in columns.iter().zip(&vector) {
                weights.iter_mut().zip(column).for_each(|(sum, weight)| *sum += share * weight);
            }
            self.0.push(normal(Output { weights, bias: 0.0 }, rows));
            stray.push((value / size).sqrt());
        }
        stray
    }

    fn difficulty(&mut self, rows: &[Row<'_>], moments: &[Moments]) {
        let counts = |row: &Row<'_>| !GRADED_BY_WORDS.contains(&KINDS[row.kind].0);
        let some = together(moments, rows, counts);
        let missed = |row: &Row<'_>| 1.0 - mean_grade(row, &(0..row.record.grades.len()).collect::<Vec<_>>());
        let samples =
            rows.iter().filter(|row| counts(row)).map(|row| (row.terms.as_slice(), missed(row), row.weight)).collect();
        self.0.extend(ridge(&some, RIDGE, &[samples]));
    }

    fn length(&mut self, rows: &[Row<'_>], moments: &[Moments], table: &Table) {
        let counts = |row: &Row<'_>| WRITTEN_OUT.contains(&table.sets[row.set].name.as_str());
        let some = together(moments, rows, counts);
        let samples = rows
            .iter()
            .filter(|row| counts(row))
            .map(|row| (row.terms.as_slice(), row.record.length, row.weight))
            .collect();
        self.0.extend(ridge(&some, KIND_RIDGE, &[samples]));
    }

    fn write(&self, heads: &mut Heads) {
        assert_eq!(self.0.len(), OUTPUTS, "every output is trained");
        for (place, output) in self.0.iter().enumerate() {
            heads.bias[place] = output.bias as f32;
            for (row, weight) in heads.weights.iter_mut().zip(&output.weights) {
                row[place] = *weight as f32;
            }
        }
    }
}

/// Weighted moments of the rows that count.
fn together(moments: &[Moments], rows: &[Row<'_>], counts: impl Fn(&Row<'_>) -> bool) -> Moments {
    let mut all = Moments::none();
    for (number, own) in moments.iter().enumerate() {
        let mut of_set = rows.iter().filter(|row| row.set == number);
        let weight = rows.iter().find(|row| row.set == number).map_or(1.0, |row| row.weight);
        if of_set.clone().all(&counts) {
            all.add(own, weight);
        } else if of_set.any(&counts) {
            all.add(own, weight);
            all.add(&Moments::of(rows.iter().filter(|row| row.set == number && !counts(row))), -weight);
        }
    }
    all
}

/// An output scaled to mean 0 and deviation 1 over the rows.
fn normal(output: Output, rows: &[Row<'_>]) -> Output {
    let values: Vec<f64> = rows.iter().map(|row| dot(&output.weights, &row.terms)).collect();
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt().max(1e-9);
    Output { weights: output.weights.iter().map(|weight| weight / deviation).collect(), bias: -mean / deviation }
}

/// The lower half of a symmetric matrix times a vector.
fn times(half: &[f64], vector: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; vector.len()];
    for row in 0..vector.len() {
        let entries = &half[triangle(row)..=triangle(row) + row];
        result[row] += dot(entries, &vector[..=row]);
        for (sum, entry) in result.iter_mut().zip(&entries[..row]) {
            *sum += entry * vector[row];
        }
    }
    result
}

fn mean_grade(row: &Row<'_>, models: &[usize]) -> f64 {
    let grades: Vec<f64> = models.iter().filter_map(|model| row.record.grades[*model]).collect();
    if grades.is_empty() { 0.5 } else { grades.iter().sum::<f64>() / grades.len() as f64 }
}

/// The best third of the models, and the weakest.
fn thirds(rows: &[&Row<'_>], models: usize) -> (Vec<usize>, Vec<usize>) {
    let overall = |model: usize| {
        let grades: Vec<f64> = rows.iter().filter_map(|row| row.record.grades[model]).collect();
        grades.iter().sum::<f64>() / grades.len().max(1) as f64
    };
    let mut order: Vec<(f64, usize)> = (0..models).map(|model| (overall(model), model)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let third = (models / 3).max(1);
    let numbers = |part: &[(f64, usize)]| part.iter().map(|(_, model)| *model).collect();
    (numbers(&order[models - third..]), numbers(&order[..third]))
}

/// One model of one set: sums over its grades.
struct Column {
    squares: Vec<f64>,
    moments: Vec<f64>,
    weight: f64,
    overall: f64,
    strength: f64,
    /// Its strength, where the set says it.
    stated: Option<f64>,
}

/// Fits `middle + strength · slope` over the basis to all models, each with a strength of its own, and sets the scale so
/// that a strength is what the overall quality over the mean prompt lies above one half.
fn draw_line(heads: &mut Heads, rows: &[Row<'_>], table: &Table, stray: &[f64]) {
    let bases: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| heads.outputs_of(&row.inputs).basis.iter().map(|value| f64::from(*value)).collect())
        .collect();
    let mut mean = vec![0.0; BASIS];
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    for (row, basis) in rows.iter().zip(&bases) {
        mean.iter_mut().zip(basis).for_each(|(sum, value)| *sum += row.weight * value / total);
    }
    let mut columns = columns(rows, &bases, table);
    let middle = columns.iter().map(|column| column.overall).sum::<f64>() / columns.len().max(1) as f64;
    columns.iter_mut().for_each(|column| column.strength = column.overall - middle);
    let (mut line, mut slope) = (vec![0.0; BASIS], vec![0.0; BASIS]);
    for _ in 0..LINE_ROUNDS {
        (line, slope) = through(&columns);
        let steepness = dot(&mean, &slope);
        slope.iter_mut().for_each(|value| *value /= steepness);
        let above = dot(&mean, &line) - 0.5;
        for column in &mut columns {
            if let Some(strength) = column.stated {
                column.strength = strength - above;
                continue;
            }
            let expected = times(&column.squares, &line);
            let rest: Vec<f64> =
                column.moments.iter().zip(expected).map(|(moment, expected)| moment - expected).collect();
            column.strength = dot(&slope, &rest) / (dot(&slope, &times(&column.squares, &slope)) + STRENGTH_RIDGE);
        }
    }
    let above = dot(&mean, &line) - 0.5;
    for place in 0..BASIS {
        heads.middle[place] = (line[place] - above * slope[place]) as f32;
        heads.slope[place] = slope[place] as f32;
        heads.mean[place] = mean[place] as f32;
    }
    let of_kinds = (1..=KINDS.len()).map(|place| stray_at(&columns, &line, &slope, place));
    let all = std::iter::once(STRAY_OVERALL).chain(of_kinds).chain([STRAY_SHARED; SHARED]);
    for (place, value) in heads.stray.iter_mut().zip(all.chain(stray.iter().map(|value| *value as f32))) {
        *place = value;
    }
}

/// How far models stray from the line in a kind, as a standard deviation: what they differ by less what chance makes of it.
fn stray_at(columns: &[Column], line: &[f64], slope: &[f64], place: usize) -> f32 {
    let (mut variance, mut total) = (0.0, 0.0);
    for column in columns {
        let count = column.squares[triangle(place) + place];
        if count < FEWEST_IN_KIND {
            continue;
        }
        let weights: Vec<f64> = line.iter().zip(slope).map(|(line, slope)| line + column.strength * slope).collect();
        let rest = (column.moments[place] - times(&column.squares, &weights)[place]) / count;
        variance += column.weight * (rest * rest - GRADE_VARIANCE / count);
        total += column.weight;
    }
    let deviation = if total > 0.0 { (variance / total).max(0.0).sqrt() } else { 0.0 };
    deviation.clamp(LEAST_STRAY, MOST_STRAY) as f32
}

/// A column with fewer prompts of a kind says nothing of how models stray there.
const FEWEST_IN_KIND: f64 = 15.0;
/// Variance of a grade about its expectation.
const GRADE_VARIANCE: f64 = 0.18;
/// Bounds of what few sets say.
const LEAST_STRAY: f64 = 0.05;
const MOST_STRAY: f64 = 0.3;

/// Keeps the strength of a model with few grades near the middle.
const STRENGTH_RIDGE: f64 = 5.0;
/// Keeps the line near what holds for all prompts, and its slope.
const LINE_RIDGE: f64 = 3.0;
const SLOPE_RIDGE: f64 = 0.2;

fn columns(rows: &[Row<'_>], bases: &[Vec<f64>], table: &Table) -> Vec<Column> {
    let mut columns = Vec::new();
    for (number, set) in table.sets.iter().enumerate() {
        for model in 0..set.models.len() {
            let mut column = Column {
                squares: vec![0.0; triangle(BASIS)],
                moments: vec![0.0; BASIS],
                weight: 1.0 / (set.models.len() as f64).sqrt(),
                overall: 0.0,
                strength: 0.0,
                stated: stated(&set.name, &set.models[model]),
            };
            for (row, basis) in rows.iter().zip(bases).filter(|(row, _)| row.set == number) {
                let Some(grade) = row.record.grades[model] else { continue };
                add_square(&mut column.squares, basis, row.weight);
                column.moments.iter_mut().zip(basis).for_each(|(sum, value)| *sum += row.weight * grade * value);
            }
            if column.squares[0] > 0.0 {
                column.overall = column.moments[0] / column.squares[0];
                columns.push(column);
            }
        }
    }
    columns
}

/// How strong the models are that our own prompts are graded for: overall quality above one half.
fn stated(set: &str, model: &str) -> Option<f64> {
    match (set, model) {
        (OWN, "weak") => Some(-0.2),
        (OWN, "middle") => Some(0.0),
        (OWN, "strong") => Some(0.3),
        _ => None,
    }
}

/// Line and slope by least squares, for the strengths as they are.
fn through(columns: &[Column]) -> (Vec<f64>, Vec<f64>) {
    let side = 2 * BASIS;
    let mut half = vec![0.0; triangle(side)];
    let mut right = vec![0.0; side];
    for Column { squares, moments, weight, strength, .. } in columns {
        for row in 0..BASIS {
            for column in 0..BASIS {
                let (high, low) = if row >= column { (row, column) } else { (column, row) };
                let square = squares[triangle(high) + low] * weight;
                half[triangle(BASIS + row) + column] += square * strength;
                if column <= row {
                    half[triangle(row) + column] += square;
                    half[triangle(BASIS + row) + BASIS + column] += square * strength * strength;
                }
            }
            right[row] += moments[row] * weight;
            right[BASIS + row] += moments[row] * weight * strength;
        }
    }
    for row in 0..side {
        let ridge = if row < BASIS { LINE_RIDGE } else { SLOPE_RIDGE };
        let is_overall = row % BASIS == 0;
        half[triangle(row) + row] += if is_overall { ridge * 1e-4 } else { ridge };
    }
    Cholesky::of(half, side).solve(&mut right);
    let slope = right.split_off(BASIS);
    (right, slope)
}
