package models

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// Modality is the kind of a token.
type Modality uint8

// Modalities. Answer marks a position whose *next* token is scored: its output
// is what the answer is read from. (MBQ's code marks the answer's own tokens
// instead; with answers of one to three tokens the difference matters.)
const (
	Other Modality = iota
	Vision
	Answer
)

func (m Modality) String() string { return [...]string{"other", "vision", "answer"}[m] }

// Scored is a prediction that counts: the output at Pos should be Target.
type Scored struct{ Pos, Target, Branch int32 }

// Sequence is one tokenized prompt with its answers, without padding.
//
// A sequence may branch: tokens of branch 0 are a shared prefix, and a token
// attends to the earlier tokens of branch 0 and of its own branch. So several
// answers share one question, and several questions one picture, with the
// numbers of separate prompts.
type Sequence struct {
	IDs       []int32
	Modality  []Modality
	Branch    []int32
	Positions [3][]int32        // time, height, width
	Images    []*pixels.Patches // in reading order
	Scored    []Scored          // in order of branch, then position
}

// Len is the number of tokens.
func (s *Sequence) Len() int { return len(s.IDs) }

// Turn is a question about the pictures and its answer.
type Turn struct{ Question, Answer string }

// Processor turns pictures and text into sequences.
type Processor struct {
	Config *Config
	// Tokenizer is nil where the folder has none: the model takes token streams.
	Tokenizer *tokenizer.Tokenizer
	// Pixels prepares pictures; nil for a language model alone.
	Pixels pixels.Processor
	// System is the system message that the chat template puts first; empty
	// where it has none.
	System string

	noText error // why the folder's tokenizer or template can't be used
}

// text reports why text can't be tokenized.
func (p *Processor) text() error {
	switch {
	case p.noText != nil:
		return p.noText
	case p.Tokenizer == nil:
		return errors.New("models: the model has no tokenizer.json: it takes token streams, not text; put the tokenizer.json of the model into its folder")
	}
	return nil
}

// LoadProcessor reads everything of a folder in the Hugging Face layout but the
// weights.
func LoadProcessor(dir string) (*Processor, error) {
	c, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	return loadProcessor(dir, c)
}

// loadProcessor reads the tokenizer, the image processor and the chat template
// of a folder in the Hugging Face layout.
func loadProcessor(dir string, c *Config) (*Processor, error) {
	p := &Processor{Config: c}
	a := c.arch()
	var err error
	if c.tower() != nil {
		if p.Pixels, err = loadPixels(dir, c); err != nil {
			return nil, err
		}
	}
	if err := p.loadTokenizer(dir); err != nil {
		return nil, err
	}
	template, err := readTemplate(dir)
	if err != nil {
		return nil, err
	}
	d := a.dialect()
	if err := d.recognize(template); err != nil {
		p.noText = fmt.Errorf("models: %s: %w", dir, err)
	}
	if strings.Contains(template, defaultSystem) {
		p.System = defaultSystem
	}
	return p, nil
}

// loadPixels reads the image processor's settings: preprocessor_config.json, or
// image_processor of processor_config.json, where newer releases keep them.
func loadPixels(dir string, c *Config) (pixels.Processor, error) {
	path := filepath.Join(dir, "preprocessor_config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		nested := filepath.Join(dir, "processor_config.json")
		if all, nestedErr := os.ReadFile(nested); nestedErr == nil {
			if f, parseErr := parseFields(all); parseErr == nil && f.has("image_processor") {
				path, data, err = nested, f.object["image_processor"], nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	p, err := c.arch().parsePixels(data, c)
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", path, err)
	}
	return p, nil
}

// loadTokenizer reads tokenizer.json. A language model alone runs on token streams
// where there is none, or one of a kind that isn't supported.
func (p *Processor) loadTokenizer(dir string) error {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	switch {
	case err != nil && p.Pixels != nil:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		p.noText = err
		return nil
	}
	if tok.Size() > p.Config.Text.Vocab {
		return fmt.Errorf("models: %s: tokenizer.json has %d tokens, config.json a vocab_size of %d", dir, tok.Size(), p.Config.Text.Vocab)
	}
	p.Tokenizer = tok
	return nil
}

// sequenceBuilder appends text and pictures to a sequence.
type sequenceBuilder struct {
	p       *Processor
	d       dialect
	s       *Sequence
	branch  int32
	next    int32  // the next position
	pending string // text not tokenized yet: what stands together is split together
}

// open begins a sequence with the pictures and whatever text stands in front of
// the question.
func (p *Processor) open(images []image.Image) (*sequenceBuilder, error) {
	if err := p.text(); err != nil {
		return nil, err
	}
	b := &sequenceBuilder{p: p, d: p.Config.arch().dialect(), s: &Sequence{}}
	pictures, err := p.Pictures(images)
	if err != nil {
		return nil, err
	}
	if p.System != "" && b.d.system != nil {
		b.text(b.d.system(p.System))
	}
	b.text(b.d.head)
	for _, picture := range pictures {
		b.text(b.d.before)
		b.picture(picture)
		b.text(b.d.after)
	}
	return b, nil
}

// Pictures prepares the pictures of one prompt for the vision tower.
func (p *Processor) Pictures(images []image.Image) ([]*pixels.Patches, error) {
	if len(images) == 0 {
		return nil, nil
	}
	if p.Pixels == nil {
		return nil, fmt.Errorf("models: %d pictures for a %s language model, which reads none", len(images), p.Config.Family)
	}
	list, err := p.Pixels.Process(images)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	return list, nil
}

func (b *sequenceBuilder) text(text string) { b.pending += text }

// flush tokenizes the text that waits.
func (b *sequenceBuilder) flush() {
	ids := b.p.Tokenizer.Encode(b.pending)
	b.pending = ""
	b.next = appendText(&b.s.Positions, b.next, len(ids))
	b.append(ids, Other)
}

func (b *sequenceBuilder) picture(p *pixels.Patches) {
	b.flush()
	t := b.p.Config.tower()
	ids := make([]int32, t.tokens(p))
	for i := range ids {
		ids[i] = b.p.Config.ImageToken
	}
	b.next = t.positions(&b.s.Positions, b.next, p)
	b.append(ids, Vision)
	b.s.Images = append(b.s.Images, p)
}

func (b *sequenceBuilder) append(ids []int32, m Modality) {
	for _, id := range ids {
		b.s.IDs = append(b.s.IDs, id)
		b.s.Modality = append(b.s.Modality, m)
		b.s.Branch = append(b.s.Branch, b.branch)
	}
}

// answer appends a scored answer with its end token; the position before it
// predicts the first token.
func (b *sequenceBuilder) answer(text string) {
	b.flush()
	ids := b.p.Tokenizer.Encode(text)
	if b.d.stop != "" {
		ids = append(ids, b.p.Tokenizer.Encode(b.d.stop)...)
	} else if eos := b.p.Config.EOSToken; eos >= 0 {
		ids = append(ids, eos)
	}
	pos := int32(b.s.Len() - 1)
	if b.branch > 0 { // the shared prefix ends before the branch's first token
		for pos >= 0 && b.s.Branch[pos] != 0 && b.s.Branch[pos] != b.branch {
			pos--
		}
	}
	start := int32(b.s.Len())
	b.next = appendText(&b.s.Positions, b.next, len(ids))
	b.append(ids, Other)
	for i, id := range ids {
		b.s.Scored = append(b.s.Scored, Scored{Pos: pos, Target: id, Branch: b.branch})
		b.s.Modality[pos] = Answer
		pos = start + int32(i)
	}
}

// Prompt builds the sequence of a question after its pictures, as the chat
// template of the family writes it; a language model alone continues the text as
// it stands. Each answer is scored with its end token;
// with several, they are branches 1, 2, … behind the shared prompt. Without answers
// nothing is scored: the prompt ends where the model's reply begins.
func (p *Processor) Prompt(images []image.Image, question string, answers ...string) (*Sequence, error) {
	b, err := p.open(images)
	if err != nil {
		return nil, err
	}
	b.text(b.d.ask + question + b.d.end)
	b.flush()
	start := b.next
	for i, a := range answers {
		if len(answers) > 1 {
			b.branch, b.next = int32(i+1), start
		}
		b.answer(a)
	}
	return b.s, b.check()
}

// Dialog builds one sequence that holds several independent questions about the
// same pictures: every turn is a branch behind them.
func (p *Processor) Dialog(images []image.Image, turns []Turn) (*Sequence, error) {
	if len(turns) == 0 {
		return nil, errors.New("models: a dialog needs at least one question")
	}
	b, err := p.open(images)
	if err != nil {
		return nil, err
	}
	b.flush()
	start := b.next
	for i, t := range turns {
		b.branch, b.next = int32(i+1), start
		b.text(b.d.ask + t.Question + b.d.end)
		b.answer(t.Answer)
	}
	return b.s, b.check()
}

// check refuses what the model has no positions or tokens for.
func (b *sequenceBuilder) check() error {
	limit := b.p.Config.Text.MaxPositions
	if limit > 0 && int(b.next) > limit {
		return fmt.Errorf("models: prompt of %d positions; the model takes %d", b.next, limit)
	}
	images := 0
	for _, id := range b.s.IDs {
		if id >= 0 && id == b.p.Config.ImageToken {
			images++
		}
	}
	for _, m := range b.s.Modality {
		if m == Vision {
			images--
		}
	}
	if images != 0 {
		return fmt.Errorf("models: the text holds the picture token %q itself", b.p.Tokenizer.Token(b.p.Config.ImageToken))
	}
	return nil
}

// TextSequence wraps a stream of token ids in which every next token is scored.
// All its positions but the last are answer positions; there are no vision tokens.
func TextSequence(ids []int32) *Sequence {
	s := &Sequence{IDs: ids, Modality: make([]Modality, len(ids)), Branch: make([]int32, len(ids))}
	appendText(&s.Positions, 0, len(ids))
	for i := range len(ids) - 1 {
		s.Modality[i] = Answer
		s.Scored = append(s.Scored, Scored{Pos: int32(i), Target: ids[i+1]})
	}
	return s
}

// FromIDs builds a sequence of token ids in which the pictures' placeholders are
// already expanded; nothing is scored. images are the pictures in reading order.
func (p *Processor) FromIDs(ids []int32, images []*pixels.Patches) (*Sequence, error) {
	s := &Sequence{IDs: ids, Modality: make([]Modality, len(ids)), Branch: make([]int32, len(ids)), Images: images}
	t := p.Config.tower()
	var next int32
	k := 0 // pictures placed
	for i := 0; i < len(ids); {
		if t == nil || ids[i] != p.Config.ImageToken {
			next = appendText(&s.Positions, next, 1)
			i++
			continue
		}
		if k == len(images) {
			return nil, fmt.Errorf("models: picture tokens at %d but only %d pictures", i, len(images))
		}
		n := t.tokens(images[k])
		for j := range n {
			if i+j >= len(ids) || ids[i+j] != p.Config.ImageToken {
				return nil, fmt.Errorf("models: picture %d needs %d picture tokens at %d; the prompt has %d", k+1, n, i, j)
			}
			s.Modality[i+j] = Vision
		}
		next = t.positions(&s.Positions, next, images[k])
		i, k = i+n, k+1
	}
	if k < len(images) {
		return nil, fmt.Errorf("models: %d pictures but picture tokens for %d", len(images), k)
	}
	return s, nil
}
