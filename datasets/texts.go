package datasets

import (
	"strconv"
	"strings"
)

// How much of the training streams the tokenizer's corpus holds.
const (
	textBoards = 3000 // boards, eight questions each
	textNames  = 12   // times that every name is asked for
	textCharts = 2000 // charts, up to seven questions each
	textSeldom = 4    // one page of words for so many charts
)

// Texts returns the corpus that the tokenizer is trained on: the words around a
// chat, every name and kind with their questions, and the questions and answers of
// boards and charts of the training split, each as often as a model meets it,
// roughly. The order is fixed. Repetitions are intended: they are the frequencies.
//
// The words of task text are left out, but for their letters: a word of the training
// split must not become one token, since words of the test split couldn't, and
// reading them would be another task.
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
	for cell := range grid4x4.cells() {
		add(QA{"What is at " + grid4x4.name(cell) + "?", grid4x4.name(cell)})
	}
	for i := range textCharts {
		_, qas, _ := chartText(p, textSeed, i)
		for _, qa := range qas {
			add(qa)
		}
		if i%textSeldom == 0 {
			add(QA{askName, unanswerable})
			texts = append(texts, pageTexts(p, i)...)
		}
	}
	for n := range 100 {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts, nil
}

// pageTexts are the questions about page i of the training stream, without its words.
func pageTexts(p *pack, i int) []string {
	var texts []string
	page, qas, _ := textText(p, textSeed, i)
	for _, qa := range qas {
		texts = append(texts, qa.Question, qa.Answer)
	}
	for k, text := range texts {
		for _, word := range page.words {
			texts[k] = strings.ReplaceAll(texts[k], word, "")
		}
		if texts[k] == "" {
			texts[k] = text[:1]
		}
	}
	return texts
}

// textSeed picks the boards of the corpus.
const textSeed = 0x7465787473
