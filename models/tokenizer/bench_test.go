package tokenizer

import (
	"strings"
	"testing"
)

func BenchmarkEncode(b *testing.B) {
	texts := trainingTexts()
	tok, err := Train(texts, 330, []string{"<|im_end|>"})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Join(texts, "<|im_end|>")
	b.Run("words", func(b *testing.B) { // repeated pieces: the cache
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			tok.Encode(text)
		}
	})
	long := strings.Repeat("whatpicture", 2000)
	b.Run("one long piece", func(b *testing.B) { // the heap
		b.SetBytes(int64(len(long)))
		for b.Loop() {
			tok.Encode(long)
		}
	})
}

func BenchmarkTrain(b *testing.B) {
	texts := trainingTexts()
	for b.Loop() {
		if _, err := Train(texts, 330, nil); err != nil {
			b.Fatal(err)
		}
	}
}
