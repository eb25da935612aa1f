package train

import (
	"context"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
	"github.com/tlqlab/tlqlab/models"
)

// curveColors are Okabe and Ito's, readable by everybody.
var curveColors = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}}

// writeCurves draws loss and accuracy over steps.
func (t *trainer) writeCurves() error {
	loss := plot.New()
	loss.Title.Text = t.recipe.Name + ": training loss"
	loss.X.Label.Text, loss.Y.Label.Text = "optimizer step", "loss (nats per answer token)"
	loss.Y.Min = 0
	var points plotter.XYs
	for _, p := range t.curve.Loss {
		points = append(points, plotter.XY{X: float64(p.Step), Y: p.Loss})
	}
	if err := addLine(loss, "", points, curveColors[0]); err != nil {
		return err
	}
	accuracy := plot.New()
	accuracy.Title.Text = t.recipe.Name + ": accuracy on the tuning split"
	accuracy.X.Label.Text, accuracy.Y.Label.Text = "optimizer step", "accuracy (%)"
	accuracy.Y.Min, accuracy.Y.Max = 0, 100
	accuracy.Legend.Top, accuracy.Legend.Left = true, true
	for i, part := range t.recipe.Batch {
		var points plotter.XYs
		for _, p := range t.curve.Accuracy {
			points = append(points, plotter.XY{X: float64(p.Step), Y: 100 * p.Tasks[part.Task].Accuracy})
		}
		if err := addLine(accuracy, part.Task, points, curveColors[i%len(curveColors)]); err != nil {
			return err
		}
	}
	chance, err := plotter.NewLine(plotter.XYs{{X: 0, Y: 25}, {X: float64(t.recipe.Steps), Y: 25}})
	if err != nil {
		return err
	}
	chance.Color, chance.Dashes = color.Gray{128}, []vg.Length{vg.Points(4), vg.Points(3)}
	accuracy.Add(chance)
	accuracy.Legend.Add("chance", chance)
	for name, p := range map[string]*plot.Plot{"loss": loss, "accuracy": accuracy} {
		f := &display.Figure{Name: name, Drawing: display.Plot(p, 5*vg.Inch, 3*vg.Inch)}
		if _, err := f.WriteFiles(t.dir); err != nil {
			return err
		}
	}
	return nil
}

func addLine(p *plot.Plot, name string, points plotter.XYs, c color.Color) error {
	if len(points) == 0 {
		return nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.5)
	p.Add(line)
	if name != "" {
		p.Legend.Add(name, line)
	}
	return nil
}

// CardSettings say what a model card measures.
type CardSettings struct {
	Questions int                     // of the test split, per task
	Premise   harness.PremiseSettings // of token importance
}

// DefaultCard scores 500 test questions per task and measures the premise on 150
// prompts, in the formats of the default grid and one that rounds activations hard.
func DefaultCard() CardSettings {
	p := harness.DefaultPremise()
	p.Prompts.N, p.Formats = 150, append(harness.DefaultSpec().Formats, "w4a4")
	return CardSettings{Questions: 500, Premise: p}
}

// WriteCard scores the model that [Run] finished in dir, measures its premise and
// writes the card, README.md; the scores go into the folder's training.json too.
func WriteCard(ctx context.Context, s *harness.Session, dir string, settings CardSettings) error {
	r, err := readRecord(dir)
	if err != nil {
		return err
	}
	m, err := s.WithContext(ctx).Model(dir)
	if err != nil {
		return err
	}
	runner, err := m.Runner()
	if err != nil {
		return err
	}
	r.Scores = map[string]TaskPoint{}
	for _, part := range r.Recipe.Batch {
		if r.Scores[part.Task], err = evaluate(ctx, runner, part.Task, datasets.Test, settings.Questions); err != nil {
			return err
		}
	}
	premise, err := m.Premise(settings.Premise)
	if err != nil {
		return err
	}
	if err := r.write(dir); err != nil {
		return err
	}
	text, err := r.card(m, premise)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(text), 0o644)
}

// card is the text of README.md.
func (r *record) card(m *harness.Model, premise *harness.Premise) (string, error) {
	scores, err := r.scoreTable()
	if err != nil {
		return "", err
	}
	c := m.Config
	hash, err := m.Model.Hash()
	if err != nil {
		return "", err
	}
	w, err := m.Weights()
	if err != nil {
		return "", err
	}
	verdict := report.PremiseVerdict(premise)
	return fmt.Sprintf(cardText, r.Recipe.Name, architecture[c.Family], countValues(w, c), c.Text.Layers, c.Text.Hidden,
		c.Text.Heads, c.Text.KVHeads, c.Vision.Depth, c.Vision.Hidden, pictureSize, pictureSize, visionTokens(c),
		scores, verdict[0], strings.Join(verdict[1:], "\n* "), report.PremiseTable(premise).Markdown(),
		r.Recipe.Name, r.Recipe.Seed, r.Recipe.Steps, r.Curve.Pictures, r.Curve.Seconds/60, r.Data, hash), nil
}

// scoreTable is a row per task and their average.
func (r *record) scoreTable() (string, error) {
	var rows strings.Builder
	var accuracy, variance, chance float64
	n := float64(len(r.Recipe.Batch))
	for _, part := range r.Recipe.Batch {
		task, err := datasets.FindTask(part.Task)
		if err != nil {
			return "", err
		}
		p := r.Scores[part.Task]
		fmt.Fprintf(&rows, "| %s | %.1f%% ± %.1f | %.1f%% | %d |\n", part.Task, 100*p.Accuracy, 100*p.StdErr, 100*task.Chance, p.N)
		accuracy, variance, chance = accuracy+p.Accuracy/n, variance+p.StdErr*p.StdErr/n/n, chance+task.Chance/n
	}
	fmt.Fprintf(&rows, "| average | %.1f%% ± %.1f | %.1f%% | |\n", 100*accuracy, 100*math.Sqrt(variance), 100*chance)
	return rows.String(), nil
}

// architecture is what a family is called.
var architecture = map[models.Family]string{models.Qwen2VL: "Qwen2-VL", models.LlavaOV: "LLaVA-OneVision"}

// visionTokens counts the tokens of a built-in picture.
func visionTokens(c *models.Config) int {
	side := pictureSize / c.Vision.PatchSize / c.Vision.Merge
	if c.Family == models.LlavaOV { // the whole picture, the same as a tile, the ends of the tile's rows
		return 2*side*side + side
	}
	return side * side
}

func countValues(w *models.Weights, c *models.Config) int {
	n := 0
	for _, p := range w.Params(c) {
		n += len(p.Data)
	}
	return n
}

const cardText = `# %s

A %s model in miniature, trained from scratch by this project on its built-in pictures: a subject for quantization
experiments, not an assistant. %d parameters: a language model of %d blocks, width %d, %d query and %d key/value heads;
a vision tower of depth %d, width %d. A picture of %d×%d pixels becomes %d vision tokens.

| task (test split) | accuracy ± standard error | chance | questions |
|---|---|---|---|
%s
Questions offer choices, scored by mean log-likelihood per answer token; errors are clustered by concept, board, table or word.
Nothing of the test split was seen in training: not that vendor's picture of a concept, no table, no word.

![loss](loss.png) ![accuracy](accuracy.png)

**The premise of token importance** (` + "`./tlq inspect --premise`" + `): %s

* %s

%s
- Made by: ` + "`./tlq train %s --seed %d`" + `, %d steps, %d pictures, %.0f minutes.
- Data: SHA-256 %s (pictures and generators; licences in datasets/LICENSES.md). training.json holds the recipe, the curves and the scores.
- Weights: SHA-256 %s over names, shapes and float32 values; stored as BF16.
- The pictures it was trained on are Noto Emoji (Apache-2.0), Twemoji (CC BY 4.0; copyright Twitter, Inc. and other contributors), charts
  of vega-datasets' tables (BSD-3-Clause) and words of SCOWL in free fonts.
`
