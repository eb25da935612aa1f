package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// trainer is a run in progress.
type trainer struct {
	recipe    Recipe
	dir       string
	dataHash  string
	model     *models.Model
	runner    *models.Runner
	weights   *models.Weights
	optimizer *optimizer
	step      int // steps done
	curve     Curve
	window    LossPoint // sums over the Step steps since the curve's last point
	started   time.Time // when the curve's clock was last read
}

// Run trains r into dir, or continues there. It writes a checkpoint every
// r.CheckpointEvery steps and when ctx is cancelled, and at the end the model
// folder: weights in BF16, tokenizer, curves. A folder that it has finished stays as
// it is.
func Run(ctx context.Context, r Recipe, dir string) error {
	t, err := open(r, dir)
	if err != nil {
		return err
	}
	return t.run(ctx)
}

func (t *trainer) run(ctx context.Context) error {
	if done, err := t.finished(); done || err != nil {
		return err
	}
	resumed, err := t.restore()
	if err != nil {
		return err
	}
	if resumed {
		fmt.Fprintf(os.Stderr, "train: continuing %s at step %d of %d\n", t.recipe.Name, t.step, t.recipe.Steps)
	}
	if err := t.loop(ctx); err != nil {
		return err
	}
	return t.finish()
}

func open(r Recipe, dir string) (*trainer, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	hash, err := datasets.Hash()
	if err != nil {
		return nil, err
	}
	t := &trainer{recipe: r, dir: dir, dataHash: hash, started: time.Now()}
	p, err := newProcessor(&t.recipe.Config)
	if err != nil {
		return nil, err
	}
	t.weights = models.NewWeights(&t.recipe.Config)
	t.weights.Randomize(&t.recipe.Config, rand.New(rand.NewPCG(r.Seed, 0)))
	t.model = models.New(p, t.weights)
	if t.runner, err = models.NewRunner(t.model); err != nil {
		return nil, err
	}
	t.optimizer = newOptimizer(&t.recipe, t.weights.Params(&t.recipe.Config))
	return t, nil
}

// loop runs the remaining steps.
func (t *trainer) loop(ctx context.Context) error {
	stop := make(chan struct{})
	defer close(stop)
	bar := display.NewProgress("train "+t.recipe.Name, t.recipe.Steps)
	defer bar.Done()
	for b := range (stream{&t.recipe, t.model}).steps(t.step, stop) {
		if b.err != nil {
			return b.err
		}
		if err := ctx.Err(); err != nil {
			if err := t.save(); err != nil {
				return err
			}
			return fmt.Errorf("train: stopped at step %d of %d; run the same command to continue: %w", t.step, t.recipe.Steps, context.Cause(ctx))
		}
		point, err := t.one(b.list)
		if err != nil {
			return err
		}
		t.record(point)
		bar.Set(t.step, fmt.Sprintf("loss %.3f, labels %.3f, right %.1f%%", point.Loss, point.LabelLoss, 100*point.Right))
		if err := t.milestones(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lossEvery is the number of steps that a point of the loss curve averages.
const lossEvery = 50

// record adds a step to the loss curve's open window and closes it when it is
// full.
func (t *trainer) record(p LossPoint) {
	w := &t.window
	w.Loss, w.LabelLoss, w.Right, w.Norm = w.Loss+p.Loss, w.LabelLoss+p.LabelLoss, w.Right+p.Right, w.Norm+p.Norm
	w.Step++
	if t.step%lossEvery != 0 && t.step != t.recipe.Steps {
		return
	}
	n := float64(w.Step)
	t.curve.Loss = append(t.curve.Loss, LossPoint{Step: t.step, Loss: w.Loss / n, LabelLoss: w.LabelLoss / n, Right: w.Right / n, Norm: w.Norm / n, Rate: t.recipe.rate(t.step)})
	*w = LossPoint{}
}

// one is an optimizer step on the tasks' losses, each weighed by its portion of the
// pictures. As many tasks' passes run side by side as there are processors (more would
// push each other's values out of the caches); their gradients are added in the tasks'
// order.
func (t *trainer) one(list []*models.TrainingBatch) (LossPoint, error) {
	results, errs := make([]*models.Training, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	seats := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, b := range list {
		seats <- struct{}{}
		wg.Go(func() {
			results[i], errs[i] = t.runner.LossAndGradients(b, t.weights, float32(t.recipe.LabelWeight))
			<-seats
		})
	}
	wg.Wait()
	var p LossPoint
	if err := errors.Join(errs...); err != nil {
		return p, err
	}
	sum := results[0].Gradients
	for i, r := range results {
		share := float64(t.recipe.Batch[i].Pictures) / float64(t.recipe.Pictures())
		p.Loss += share * r.Loss
		p.LabelLoss += share * r.LabelLoss
		p.Right += share * float64(r.Right) / float64(list[i].Scored)
		for k, g := range r.Gradients {
			kernels.MulScalar(g, g, float32(share))
			if i > 0 {
				kernels.Add(sum[k], sum[k], g)
			}
		}
	}
	if p.Loss != p.Loss {
		return p, fmt.Errorf("train: loss is NaN at step %d; lower the peak learning rate %g", t.step+1, t.recipe.Peak)
	}
	t.step++
	p.Norm = t.optimizer.step(t.step, sum)
	t.curve.Pictures += t.recipe.Pictures()
	return p, nil
}

// milestones evaluates and saves where it is time.
func (t *trainer) milestones(ctx context.Context) error {
	if t.step%t.recipe.EvaluateEvery == 0 || t.step == t.recipe.Steps {
		point := AccuracyPoint{Step: t.step, Tasks: map[string]TaskPoint{}}
		for _, part := range t.recipe.Batch {
			p, err := evaluate(ctx, t.runner, part.Task, datasets.Tuning, t.recipe.Questions)
			if err != nil {
				return err
			}
			point.Tasks[part.Task] = p
			fmt.Fprintf(os.Stderr, "train: step %d: %s %.1f%% ± %.1f of %d tuning questions\n", t.step, part.Task, 100*p.Accuracy, 100*p.StdErr, p.N)
		}
		t.curve.Accuracy = append(t.curve.Accuracy, point)
	}
	if t.step%t.recipe.CheckpointEvery == 0 || t.step == t.recipe.Steps {
		return t.save()
	}
	return nil
}

// evaluate scores a task by the likelihood of its choices.
func evaluate(ctx context.Context, r *models.Runner, name string, split datasets.Split, n int) (TaskPoint, error) {
	task, err := datasets.FindTask(name)
	if err != nil {
		return TaskPoint{}, err
	}
	var questions []*eval.Question
	var seqs []*models.Sequence
	for e, err := range task.Examples(split, 0, n) {
		if err != nil {
			return TaskPoint{}, err
		}
		q, err := eval.NewQuestion(r.Model, e, false)
		if err != nil {
			return TaskPoint{}, err
		}
		questions, seqs = append(questions, q), append(seqs, q.Sequence)
	}
	batches, err := r.Embed(seqs)
	if err != nil {
		return TaskPoint{}, err
	}
	samples, _, err := eval.Ask(ctx, eval.ModelScorer{Runner: r}, questions, batches, nil)
	if err != nil {
		return TaskPoint{}, err
	}
	s, err := eval.Summarize(samples)
	if err != nil {
		return TaskPoint{}, err
	}
	return TaskPoint{N: n, Accuracy: s.Accuracy, StdErr: s.StdErr}, nil
}
