package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveTrain recounts every pair before every merge.
func naiveTrain(pieces []string, merges int) [][2]string {
	ids := map[string]int{}
	for i, b := range byteOrder {
		ids[string(byteRune[b])] = i
	}
	var words [][]string
	for _, p := range pieces {
		words = append(words, strings.Split(toAlphabet(p), ""))
	}
	var out [][2]string
	for len(out) < merges {
		counts := map[[2]string]int{}
		for _, w := range words {
			for i := 1; i < len(w); i++ {
				counts[[2]string{w[i-1], w[i]}]++
			}
		}
		var best [2]string
		for p, n := range counts {
			b := counts[best]
			first := ids[p[0]] < ids[best[0]] || ids[p[0]] == ids[best[0]] && ids[p[1]] < ids[best[1]]
			if n > b || n == b && first {
				best = p
			}
		}
		if counts[best] < 2 {
			break
		}
		out = append(out, best)
		joined := best[0] + best[1]
		if _, known := ids[joined]; !known {
			ids[joined] = len(ids)
		}
		for k, w := range words {
			var next []string
			for i := 0; i < len(w); i++ {
				if i+1 < len(w) && w[i] == best[0] && w[i+1] == best[1] {
					next = append(next, joined)
					i++
				} else {
					next = append(next, w[i])
				}
			}
			words[k] = next
		}
	}
	return out
}

func trainingTexts() []string {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("what is shown in the picture ? how many red cats are left of the dog 12 banana aaaa aaaaaaa été naïve 你好 🙂🙂 don't")
	var texts []string
	for range 60 {
		var b strings.Builder
		for range 1 + r.IntN(20) {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteString([]string{" ", " ", "  ", "\n", ""}[r.IntN(5)])
		}
		texts = append(texts, b.String())
	}
	return texts
}

func TestTrainIsTheNaiveTrainer(t *testing.T) {
	texts := trainingTexts()
	special := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
	tok, err := Train(texts, 256+80+len(special), special)
	if err != nil {
		t.Fatal(err)
	}
	var pieces []string
	for _, text := range texts {
		pieces = append(pieces, tok.Split(text)...)
	}
	want := naiveTrain(pieces, len(tok.file.Model.pairs))
	if !slices.Equal(tok.file.Model.pairs, want) {
		t.Errorf("merges %v, want %v", tok.file.Model.pairs, want)
	}
	if tok.Size() != 256+80+len(special) {
		t.Errorf("size %d", tok.Size())
	}
	for i, s := range special {
		if id, ok := tok.ID(s); !ok || int(id) != 256+80+i || !tok.Special(id) {
			t.Errorf("special token %q has id %d", s, id)
		}
	}
	slices.Reverse(texts)
	again, err := Train(texts, 256+80+len(special), special)
	if err != nil {
		t.Fatal(err)
	}
	if string(again.JSON()) != string(tok.JSON()) {
		t.Error("the order of the texts changes the result")
	}
	back, err := Parse(tok.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if string(back.JSON()) != string(tok.JSON()) {
		t.Error("Parse(JSON()).JSON() differs")
	}
	for _, text := range texts {
		a, b := tok.Encode(text), back.Encode(text)
		if !slices.Equal(a, b) || tok.Decode(a, false) != text {
			t.Errorf("%q does not survive: %v, %v", text, a, b)
		}
	}
}

func TestTrainEndsEarlyAndCutsSpecialTokens(t *testing.T) {
	tok, err := Train([]string{"ab<|x|>ab<|x|>", "<|x|>cd"}, 1000, []string{"<|x|>"})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Size() != 256+1+1 {
		t.Errorf("size %d, want 258: only the pair a b occurs twice", tok.Size())
	}
	if got, want := tok.Encode("ab<|x|>"), []int32{256, 257}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
}

func TestTrainRefuses(t *testing.T) {
	for _, c := range []struct {
		size    int
		special []string
		want    string
	}{
		{256, []string{"<x>"}, "257"},
		{1 << 30, nil, "to 4194304"},
		{300, []string{"<x>", "<x>"}, "twice"},
		{300, []string{""}, "empty"},
		{300, []string{"a"}, "added_tokens gives"},
	} {
		_, err := Train([]string{"a text"}, c.size, c.special)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Train(%d, %q) = %v, want an error with %q", c.size, c.special, err, c.want)
		}
	}
}
