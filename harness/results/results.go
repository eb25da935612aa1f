// Package results writes a run's scores as other harnesses write theirs, so that
// tools made for lmms-eval and lm-evaluation-harness read them.
//
// Every record with samples becomes a model of its own, named MODEL,METHOD,FORMAT,SEED; FORMAT
// names the outliers too where some were injected.
// What those harnesses measure on their own machines (times, seeds of libraries that
// don't exist here) is left at its neutral value; nothing is invented.
package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// Schema names the harness whose files are written.
type Schema string

// The schemas.
const (
	LMMsEval Schema = "lmms-eval" // MODEL/DATE_results.json and MODEL/DATE_samples_TASK.jsonl
	LMEval   Schema = "lm-eval"   // MODEL/results_DATE.json and MODEL/samples_TASK_DATE.jsonl
)

// Config says what to write.
type Config struct {
	Schema Schema
	Date   time.Time // stands in the files and their names
}

// Validate reports an unknown schema.
func (c Config) Validate() error {
	if c.Schema != LMMsEval && c.Schema != LMEval {
		return fmt.Errorf("results: unknown schema %q: expected %s or %s", c.Schema, LMMsEval, LMEval)
	}
	return nil
}

// Write reads the run in the folder run and writes files into dir, which it makes
// where needed. It returns their paths in order. Failed cells and cells without
// samples are left out; a run without any cell to write is an error. The files of a
// cell appear whole or not at all.
func Write(dir, run string, c Config) ([]string, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	records, err := harness.ReadRun(run)
	if err != nil {
		return nil, err
	}
	baselines := map[string][]eval.Sample{} // of the unquantized models
	var written []string
	for i := range records {
		r := &records[i]
		if r.Status != harness.StatusOK || r.Samples == "" {
			continue
		}
		samples, err := readSamples(filepath.Join(run, r.Samples))
		if err != nil {
			return written, err
		}
		if r.Method == harness.MethodFP {
			baselines[r.Model] = samples
		}
		cell := newCell(r, samples, baselines[r.Model])
		files, err := cell.write(dir, c)
		written = append(written, files...)
		if err != nil {
			return written, err
		}
	}
	if len(written) == 0 {
		return nil, fmt.Errorf("results: %s has no finished cell with samples", run)
	}
	return written, nil
}

func readSamples(path string) ([]eval.Sample, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	defer file.Close()
	samples, err := eval.ReadSamples(file)
	if err != nil {
		return nil, fmt.Errorf("results: %s: %w", path, err)
	}
	return samples, nil
}

// cell is a record with its samples by task.
type cell struct {
	record   *harness.Record
	name     string
	tasks    []string // sorted
	samples  map[string][]eval.Sample
	baseline map[string]map[string]float64 // the unquantized model's points by task and id; nil: this is it
}

func newCell(r *harness.Record, samples, baseline []eval.Sample) *cell {
	c := &cell{record: r, name: r.Model, samples: map[string][]eval.Sample{}}
	if r.Method != harness.MethodFP {
		c.name = fmt.Sprintf("%s,%s,%s,%d", r.Model, r.Method, r.Setting(), r.Seed)
		c.baseline = map[string]map[string]float64{}
	}
	for _, s := range samples {
		if c.samples[s.Task] == nil {
			c.tasks = append(c.tasks, s.Task)
		}
		c.samples[s.Task] = append(c.samples[s.Task], s)
	}
	slices.Sort(c.tasks)
	if c.baseline == nil {
		return c
	}
	for i := range baseline {
		s := &baseline[i]
		if c.baseline[s.Task] == nil {
			c.baseline[s.Task] = map[string]float64{}
		}
		c.baseline[s.Task][s.ID] = s.Points()
	}
	return c
}

// notInFileNames is what both harnesses replace in a model's name.
var notInFileNames = regexp.MustCompile(`["<>:/\\|?*\[\]]+`)

// sanitized is a model's name as a folder's.
func sanitized(name string) string { return notInFileNames.ReplaceAllString(name, "__") }

// write writes one cell's files.
func (c *cell) write(dir string, config Config) ([]string, error) {
	folder := filepath.Join(dir, sanitized(c.name))
	date := config.Date.UTC().Format("20060102_150405")
	resultsName, sampleName := date+"_results.json", func(task string) string { return date + "_samples_" + sanitized(task) + ".jsonl" }
	if config.Schema == LMEval {
		date = strings.ReplaceAll(config.Date.UTC().Format("2006-01-02T15:04:05.000000"), ":", "-")
		resultsName, sampleName = "results_"+date+".json", func(task string) string { return "samples_" + sanitized(task) + "_" + date + ".jsonl" }
	}
	files := map[string][]byte{}
	var order []string
	hashes := map[string]string{}
	for _, task := range c.tasks {
		data, hash, err := c.sampleLines(task, config.Schema)
		if err != nil {
			return nil, err
		}
		hashes[task] = hash
		order = append(order, sampleName(task))
		files[sampleName(task)] = data
	}
	head, err := json.MarshalIndent(c.head(config, hashes), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("results: %s: %w", c.name, err)
	}
	order = append(order, resultsName)
	files[resultsName] = append(head, '\n')
	return writeAll(folder, order, files)
}

// writeAll writes all files beside their places, then renames them in order.
func writeAll(folder string, order []string, files map[string][]byte) (written []string, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	const suffix = ".new"
	defer func() {
		if err != nil {
			for _, name := range order {
				os.Remove(filepath.Join(folder, name+suffix))
			}
		}
	}()
	for _, name := range order {
		if err := os.WriteFile(filepath.Join(folder, name+suffix), files[name], 0o644); err != nil {
			return nil, fmt.Errorf("results: %w", err)
		}
	}
	for _, name := range order {
		path := filepath.Join(folder, name)
		if err := os.Rename(path+suffix, path); err != nil {
			return written, fmt.Errorf("results: %w", err)
		}
		written = append(written, path)
	}
	return written, nil
}

// object is a JSON object.
type object = map[string]any

// head makes the content of the results file.
func (c *cell) head(config Config, hashes map[string]string) object {
	scores, configs, versions, shots, better, counts := object{}, object{}, object{}, object{}, object{}, object{}
	groups := object{}
	for _, task := range c.tasks {
		scores[task] = c.scores(task, config.Schema)
		kind := "multiple_choice"
		if len(c.samples[task][0].Choices) == 0 {
			kind = "generate_until"
		}
		configs[task] = object{
			"task": task, "output_type": kind, "num_fewshot": 0,
			"metric_list": []object{{"metric": "acc", "aggregation": "mean", "higher_is_better": true}},
			"metadata":    object{"version": c.record.DataSHA256},
		}
		versions[task] = c.record.DataSHA256
		shots[task] = 0
		better[task] = object{"acc": true}
		n := len(c.samples[task])
		counts[task] = object{"original": n, "effective": n}
		groups[task] = []string{}
	}
	out := object{
		"results": scores, "group_subtasks": groups, "configs": configs, "versions": versions, "n-shot": shots, "higher_is_better": better,
		"n-samples": counts, "config": c.config(config.Schema), "git_hash": c.record.Code, "task_hashes": hashes,
		"model_source": "tlq", "model_name": c.name, "model_name_sanitized": sanitized(c.name),
		"system_instruction": nil, "chat_template": nil, "start_time": nil, "end_time": nil,
		"total_evaluation_time_seconds": strconv.FormatFloat(c.record.Seconds, 'f', -1, 64),
	}
	if config.Schema == LMMsEval {
		out["date"] = config.Date.UTC().Format("20060102_150405")
		for _, key := range []string{"lmms_eval_version", "git_branch", "throughput", "usage", "efficiency", "model_backend"} {
			out[key] = nil
		}
		return out
	}
	out["date"] = float64(config.Date.UnixMicro()) / 1e6
	out["groups"] = object{}
	out["fewshot_as_multiturn"] = false
	for _, key := range []string{
		"system_instruction_sha", "chat_template_sha", "pretty_env_info", "transformers_version", "lm_eval_version", "upper_git_hash",
		"tokenizer_pad_token", "tokenizer_eos_token", "tokenizer_bos_token", "eot_token_id", "max_length",
	} {
		out[key] = nil
	}
	return out
}

// config says how the model was evaluated. A limit of 0 is none.
func (c *cell) config(schema Schema) object {
	var limit any
	if c.record.Spec != nil && c.record.Spec.Limit > 0 {
		limit = c.record.Spec.Limit
	}
	out := object{
		"model": "tlq", "model_args": object{
			"pretrained": c.record.Model, "method": c.record.Method, "format": c.record.Format, "outliers": c.record.Outliers, "seed": c.record.Seed, "avg_bits": c.record.AvgBits,
		},
		"model_sha": c.record.WeightsSHA256, "batch_size": 1, "batch_sizes": []int{}, "device": "cpu", "use_cache": nil, "limit": limit,
		"bootstrap_iters": 0, "gen_kwargs": "", "random_seed": nil, "numpy_seed": nil, "torch_seed": nil, "fewshot_seed": nil,
	}
	if schema == LMMsEval {
		out["resolved_cli_args"] = object{}
		return out
	}
	out["model_num_parameters"], out["model_dtype"], out["model_revision"] = nil, "float32", nil
	return out
}

// scores makes a task's entry: means, standard errors, and against the unquantized
// model the paired comparison of lmms-eval, in percent.
func (c *cell) scores(task string, schema Schema) object {
	samples := c.samples[task]
	points := make([]float64, len(samples))
	for i := range samples {
		points[i] = samples[i].Points()
	}
	score := eval.Mean(points)
	out := object{"alias": task, "acc,none": score, "acc_stderr,none": finite(standardError(points))}
	if nll := c.record.Tasks[task]; nll.N > 0 {
		out["nll,none"], out["kl,none"] = nll.NLL, nll.KL
	}
	if schema == LMEval {
		out["name"], out["sample_len"] = task, len(samples)
		return out
	}
	out["acc_stderr_clt,none"] = finite(standardError(points))
	out["acc_stderr_clustered,none"] = c.record.Tasks[task].StdErr
	base := c.baseline[task]
	differences := make([]float64, 0, len(samples))
	var reference []float64
	for i := range samples {
		if b, ok := base[samples[i].ID]; ok {
			differences, reference = append(differences, points[i]-b), append(reference, b)
		}
	}
	if len(differences) < len(samples) || len(samples) < 2 {
		return out
	}
	mean, se := eval.Mean(differences), standardError(differences)
	out["paired_baseline"] = c.record.Model
	out["paired_baseline_score"] = 100 * eval.Mean(reference)
	out["paired_ci_lower"], out["paired_ci_upper"] = 100*(mean-1.96*se), 100*(mean+1.96*se)
	out["paired_pvalue"] = pairedP(mean, se)
	return out
}

// pairedP is the two-sided p of a mean difference by the normal distribution, which
// Student's t is near from some hundred questions on. No spread: 1 for no difference, else 0.
func pairedP(mean, se float64) float64 {
	if se == 0 {
		if mean == 0 {
			return 1
		}
		return 0
	}
	return math.Erfc(math.Abs(mean) / se / math.Sqrt2)
}

// standardError is the standard deviation (n − 1) over √n; NaN for fewer than two values.
func standardError(values []float64) float64 {
	n := float64(len(values))
	mean, sum := eval.Mean(values), 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum/(n-1)) / math.Sqrt(n)
}

// finite is a number, or "N/A", as both harnesses write it.
func finite(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "N/A"
	}
	return v
}

// sampleLines makes a task's samples and the task's hash: SHA-256 over the samples'
// doc, prompt and target hashes.
func (c *cell) sampleLines(task string, schema Schema) (data []byte, hash string, err error) {
	var out bytes.Buffer
	var hashes strings.Builder
	for i := range c.samples[task] {
		s := &c.samples[task][i]
		line, own, err := sampleLine(i, s, schema)
		if err != nil {
			return nil, "", err
		}
		encoded, err := json.Marshal(line)
		if err != nil {
			return nil, "", fmt.Errorf("results: sample %s/%s: %w", s.Task, s.ID, err)
		}
		out.Write(append(encoded, '\n'))
		hashes.WriteString(own)
	}
	return out.Bytes(), sha(hashes.String()), nil
}

// metricNames are the sample's numbers in lm-eval's order of names.
func metricNames(s *eval.Sample) []string {
	if s.KL == nil {
		return []string{"acc", "nll"}
	}
	return []string{"acc", "nll", "kl"}
}

// sampleLine makes one sample; hash is its doc, prompt and target hash, joined.
func sampleLine(i int, s *eval.Sample, schema Schema) (line object, hash string, err error) {
	doc := object{"id": s.ID, "source": s.Source, "question": s.Question, "choices": s.Choices, "answer": s.Answer}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, "", fmt.Errorf("results: sample %s/%s: %w", s.Task, s.ID, err)
	}
	docHash, promptHash, targetHash := sha(string(encoded)), sha(s.Question), sha(s.Answer)
	line = object{
		"doc_id": i, "target": s.Answer, "filtered_resps": []string{s.Prediction}, "doc_hash": docHash, "acc": s.Points(), "nll": s.NLL,
	}
	if s.KL != nil {
		line["kl"] = *s.KL
	}
	var resps [][]any
	arguments := object{}
	for k, choice := range s.Choices {
		resps = append(resps, []any{s.LogLikelihoods[k]})
		arguments["gen_args_"+strconv.Itoa(k)] = object{"arg_0": s.Question, "arg_1": choice}
	}
	if len(s.Choices) == 0 {
		resps = [][]any{{s.Prediction}}
		arguments["gen_args_0"] = object{"arg_0": s.Question, "arg_1": object{"do_sample": false}}
	}
	line["resps"] = resps
	if schema == LMMsEval {
		line["input"], line["input_media"], line["token_counts"] = s.Question, []string{s.Source}, nil
	} else {
		line["doc"], line["arguments"], line["filter"], line["metrics"] = doc, arguments, "none", metricNames(s)
		line["prompt_hash"], line["target_hash"] = promptHash, targetHash
	}
	return line, docHash + promptHash + targetHash, nil
}

// sha is the SHA-256 in hexadecimal.
func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
