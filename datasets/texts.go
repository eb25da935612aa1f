package datasets

import "strconv"

// How much of the training streams the tokenizer's corpus holds.
const (
	textBoards = 3000 // boards, eight questions each
	textNames  = 12   // times that every name is asked for
)

// Texts returns the corpus that the tokenizer is trained on: the words around a
// chat, every name and kind with their questions, and the questions and answers of
// boards of the training split, each as often as a model meets it, roughly. The
// order is fixed. Repetitions are intended: they are the frequencies.
func Texts() ([]string, error) {
	p, err := builtin()
	if err != nil {
		return nil, err
	}
	var texts []string
	add := func(qa QA) {
		texts = append(texts, qa.Question, qa.Answer)
	}
	for range textBoards {
		texts = append(texts, "system\n", "You are a helpful assistant.", "user\n", "assistant\n")
	}
	for range textNames {
		for _, c := range p.index.Concepts {
			for _, qa := range emojiQA(c) {
				add(qa)
			}
		}
	}
	for i := range textBoards {
		_, qas, _ := sceneText(p, textSeed, i)
		for _, qa := range qas {
			add(qa)
		}
	}
	for cell := range boardSide * boardSide {
		add(QA{"What is at " + cellName(cell) + "?", cellName(cell)})
	}
	for n := range 10 {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts, nil
}

// textSeed picks the boards of the corpus.
const textSeed = 0x7465787473
