package train

import (
	"context"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
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

// cardQuestions is the number of test questions per task behind a card's scores.
const cardQuestions = 1000

// writeCard scores the finished weights, as stored, on the test split and writes
// the model card.
func (t *trainer) writeCard() error {
	m, err := models.Load(t.dir)
	if err != nil {
		return err
	}
	defer m.Close()
	runner, err := models.NewRunner(m)
	if err != nil {
		return err
	}
	hash, err := m.Hash()
	if err != nil {
		return err
	}
	var rows strings.Builder
	for _, part := range t.recipe.Batch {
		p, err := evaluate(context.Background(), runner, part.Task, datasets.Test, t.testQuestions)
		if err != nil {
			return err
		}
		task, err := datasets.FindTask(part.Task)
		if err != nil {
			return err
		}
		fmt.Fprintf(&rows, "| %s | %.1f%% ± %.1f | %.0f%% | %d |\n", part.Task, 100*p.Accuracy, 100*p.StdErr, 100*task.Chance, p.N)
	}
	c := &t.recipe.Config
	card := fmt.Sprintf(cardText, t.recipe.Name, architecture[c.Family], countValues(t.weights, c), c.Text.Layers, c.Text.Hidden,
		c.Text.Heads, c.Text.KVHeads, c.Vision.Depth, c.Vision.Hidden, pictureSize, pictureSize, visionTokens(c),
		rows.String(), t.recipe.Name, t.recipe.Seed, t.step, t.curve.Pictures, t.curve.Seconds/60, t.dataHash, hash)
	return os.WriteFile(filepath.Join(t.dir, "README.md"), []byte(card), 0o644)
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
a vision tower of %d blocks, width %d. A picture of %d×%d pixels becomes %d vision tokens.

| task (test split) | accuracy ± standard error | chance | questions |
|---|---|---|---|
%s
Questions have four choices, scored by mean log-likelihood per answer token; errors are clustered by concept or board. No
test picture was seen in training: its concept was, drawn by the other vendor.

![loss](loss.png) ![accuracy](accuracy.png)

- Made by: ` + "`./tlq train %s --seed %d`" + `, %d steps, %d pictures, %.0f minutes.
- Data: SHA-256 %s (pictures and generators; licences in datasets/LICENSES.md). training.json holds the recipe and the curves.
- Weights: SHA-256 %s over names, shapes and float32 values; stored as BF16.
- The pictures it was trained on are Noto Emoji (Apache-2.0) and Twemoji (CC BY 4.0; copyright Twitter, Inc. and other contributors).
`
