package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func loadTest(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Load("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestSplitByHand(t *testing.T) {
	tok := loadTest(t)
	for text, want := range map[string][]string{
		"":                   nil,
		"Hello world":        {"Hello", " world"},
		"a  b":               {"a", " ", " b"},
		"a\n\n  b ":          {"a", "\n\n", " ", " b", " "},
		" \n \r\n\t":         {" \n \r\n", "\t"},
		"12a3":               {"1", "2", "a", "3"},
		"(a)":                {"(a", ")"},
		"?!\r\n\nx":          {"?!\r\n\n", "x"},
		" ?!":                {" ?!"},
		"don't I'LL o'clock": {"don", "'t", " I", "'LL", " o", "'clock"},
		"'\u017f":            {"'\u017f"},
		"'R'rex":             {"'R", "'re", "x"},
		"\u00a0\u00a0x":      {"\u00a0", "\u00a0x"},
		"x\u3000":            {"x", "\u3000"},
		"e\u0301":            {"e", "\u0301"},
		"<\u0301>":           {"<\u0301>"},
		"\tif":               {"\tif"},
		"½x":                 {"½", "x"},
	} {
		got := tok.Split(text)
		if !slices.Equal(got, want) || !slices.Equal(slowSplit(text), want) {
			t.Errorf("Split(%q) = %q (reference %q), want %q", text, got, slowSplit(text), want)
		}
	}
}

func TestLlama3TakesDigitsByThrees(t *testing.T) {
	if got, want := (splitter{digits: 3}).next("12345"), 3; got != want {
		t.Errorf("first piece of 12345 has %d digits, want %d", got, want)
	}
	data, err := os.ReadFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse([]byte(strings.Replace(string(data), quote(qwen2Pattern), quote(llama3Pattern), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Split("a12345½ 6"), []string{"a", "123", "45½", " ", "6"}; !slices.Equal(got, want) {
		t.Errorf("Split = %q, want %q", got, want)
	}
}

func TestLossy(t *testing.T) {
	for in, want := range map[string]string{ // Unicode Standard 3.9, tables 3-8 to 3-11
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A": "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA",
		"\xed\xa0\x80\xed\xbf\xbf\xed\xafA": "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA",
		"\xf4\x91\x92\x93\xffA\x80\xbfB":    "\ufffd\ufffd\ufffd\ufffd\ufffdA\ufffd\ufffdB",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA": "\ufffd\ufffd\ufffd\ufffdA",
		"é\ufffd":                           "é\ufffd",
	} {
		if got := lossy(in); got != want {
			t.Errorf("lossy(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNFCWithoutStreamSafeJoiners(t *testing.T) {
	marks := strings.Repeat("\u0323\u0301", 40)
	got := nfc("e" + marks)
	if strings.Contains(got, joiner) {
		t.Error("a grapheme joiner was put in")
	}
	if want := "\u1eb9" + strings.Repeat("\u0323", 39) + strings.Repeat("\u0301", 40); got != want {
		t.Errorf("nfc = %q, want %q", got, want)
	}
	for _, s := range []string{
		"", "a", "e\u0301", "\u212b", "A\u030a", "q\u0307\u0323", "\u1112\u1161\u11ab", "\uac00\u11a8", "\u0958", "\u2126\u0345\u0301",
		"\u0301a", "a\u0323\u0301\u0302x\u0301", "\u1100\u1161\u1161", "\u0f71\u0f72\u0f74", "\U0001d15e", "<\u0338", "a\u034f\u0301",
	} {
		if got, want := plainNFC(s), norm.NFC.String(s); got != want || nfc(s) != want {
			t.Errorf("%+q: by definition %+q, fast %+q, library %+q", s, got, nfc(s), want)
		}
	}
}

func TestMergeLoopsAgree(t *testing.T) {
	tok := loadTest(t)
	for _, piece := range []string{
		"picture", " The", "answer", "the", "allestallest", "aaaa", "ththth", " squaresquare", "ü", "情", "x",
		" showsisthepictureanswerwhichbarssquareof", "inininin",
	} {
		want := slowMerge(tok, piece)
		if got := tok.mergeScan(nil, piece); !slices.Equal(got, want) {
			t.Errorf("scan %q = %v, want %v", piece, got, want)
		}
		if got := tok.mergeHeap(nil, piece); !slices.Equal(got, want) {
			t.Errorf("heap %q = %v, want %v", piece, got, want)
		}
	}
	long := strings.Repeat("showsthepictureanswer", 30)
	if got, want := tok.Encode(long), slowMerge(tok, long); !slices.Equal(got, want) {
		t.Errorf("long piece: %v, want %v", got, want)
	}
}

// Two merges that make the same token, in an order that no trainer would write:
// joining makes a pair of a lower rank.
func TestMergesOutOfOrder(t *testing.T) {
	tok, err := build(trainedFile([]string{"ab", "abc", "bc"}, [][2]string{{"ab", "c"}, {"b", "c"}, {"a", "bc"}, {"a", "b"}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"abc", "ab", "abab", "abcabcbcab", strings.Repeat("abcab", 3)} {
		want := slowMerge(tok, piece)
		if scan, heap := tok.mergeScan(nil, piece), tok.mergeHeap(nil, piece); !slices.Equal(scan, want) || !slices.Equal(heap, want) {
			t.Errorf("%q: scan %v, heap %v, want %v", piece, scan, heap, want)
		}
	}
}

func TestIgnoreMergesTakesWholePieces(t *testing.T) {
	f := trainedFile([]string{"Ġcat"}, nil, nil)
	f.Model.IgnoreMerges = true
	tok, err := build(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode(" cat cats"); len(got) != 1+5 || got[0] != 256 {
		t.Errorf("Encode = %v, want the token 256 and five bytes", got)
	}
}

func addedTokenizer(t *testing.T, added ...AddedToken) *Tokenizer {
	t.Helper()
	f := trainedFile(nil, nil, nil)
	for i, a := range added {
		a.ID = int32(256 + i)
		f.AddedTokens = append(f.AddedTokens, a)
	}
	tok, err := build(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestAddedTokenSettings(t *testing.T) {
	plain := func(s string) (ids []int32) { return addedTokenizer(t).Encode(s) }
	for _, c := range []struct {
		name  string
		added []AddedToken
		text  string
		want  [][]int32
	}{
		{"longest", []AddedToken{{Content: "<a>"}, {Content: "<a>b"}, {Content: "a<"}}, "<a>b<a>a<<", [][]int32{{257, 256, 258}, plain("<")}},
		{"prefix only", []AddedToken{{Content: "<abc>"}, {Content: "bd"}}, "<abde", [][]int32{plain("<a"), {257}, plain("e")}},
		{"single word", []AddedToken{{Content: "cat", SingleWord: true}}, "cat cats cat", [][]int32{{256}, plain(" cats "), {256}}},
		{"lstrip", []AddedToken{{Content: "<m>", LStrip: true}}, "a \n<m> b", [][]int32{plain("a"), {256}, plain(" b")}},
		{"rstrip", []AddedToken{{Content: "<m>", RStrip: true}}, "a <m> \u00a0b", [][]int32{plain("a "), {256}, plain("b")}},
		{"both strips", []AddedToken{{Content: "<m>", LStrip: true, RStrip: true}}, " <m> <m> ", [][]int32{{256, 256}}},
		{"normalized", []AddedToken{{Content: "e\u0301", Normalized: true}}, "e\u0301\u00e9e", [][]int32{{256, 256}, plain("e")}},
		{"not normalized", []AddedToken{{Content: "\u00e9x"}}, "e\u0301x\u00e9x", [][]int32{plain("\u00e9x"), {256}}},
	} {
		if got, want := addedTokenizer(t, c.added...).Encode(c.text), slices.Concat(c.want...); !slices.Equal(got, want) {
			t.Errorf("%s: Encode(%q) = %v, want %v", c.name, c.text, got, want)
		}
	}
}

func TestLookups(t *testing.T) {
	tok := loadTest(t)
	id, ok := tok.ID("Ġt")
	if !ok || tok.Token(id) != "Ġt" || tok.Decode([]int32{id}, false) != " t" {
		t.Errorf("Ġt has id %d, %t", id, ok)
	}
	if _, ok := tok.ID(" t"); ok {
		t.Error("an id for a text that is no token")
	}
	if got := tok.Decode([]int32{-1, id, int32(tok.Size()), 1 << 30}, false); got != " t" {
		t.Errorf("ids without a token: %q", got)
	}
	if tok.Token(-1) != "" || tok.Token(int32(tok.Size())) != "" {
		t.Error("a token for an id without one")
	}
	if tok.Size() != 343 || len(tok.Added()) != 15 || !tok.Special(342) || tok.Special(0) || tok.Special(-1) {
		t.Errorf("size %d, %d added tokens", tok.Size(), len(tok.Added()))
	}
	if got, want := tok.Encode("a\xf0\x9f\x99"), tok.Encode("a\ufffd"); !slices.Equal(got, want) {
		t.Errorf("invalid UTF-8: %v, want %v", got, want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	tok := loadTest(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "tokenizer.json")
	if err := tok.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil || string(back.JSON()) != string(tok.JSON()) {
		t.Errorf("saved and loaded: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v left in the folder (%v)", left, err)
	}
	if err := tok.Save(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("saved into a missing folder")
	}
	if _, err := Load(filepath.Join(dir, "none.json")); err == nil {
		t.Error("loaded a missing file")
	}
}

func TestEncodeFromManyGoroutines(t *testing.T) {
	tok := loadTest(t)
	text := "The picture shows a red square, and the chart shows 3 bars.<|im_end|>"
	want := loadTest(t).Encode(text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if !slices.Equal(tok.Encode(text), want) {
					t.Error("another result")
				}
			}
		})
	}
	wg.Wait()
}

// change returns the test tokenizer's JSON with one change applied to it.
func change(t *testing.T, edit func(m map[string]any)) []byte {
	t.Helper()
	var m map[string]any
	data, err := os.ReadFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	type object = map[string]any
	model := func(key string, value any) func(object) {
		return func(m object) { m["model"].(object)[key] = value }
	}
	vocab := func(key string, value any) func(object) {
		return func(m object) { m["model"].(object)["vocab"].(object)[key] = value }
	}
	top := func(key string, value any) func(object) { return func(m object) { m[key] = value } }
	pre := func(part int, key string, value any) func(object) {
		return func(m object) { m["pre_tokenizer"].(object)["pretokenizers"].([]any)[part].(object)[key] = value }
	}
	for _, c := range []struct {
		name string
		edit func(object)
		want string
	}{
		{"model type", model("type", "WordPiece"), `model.type is "WordPiece"`},
		{"model no object", top("model", 3), "not a tokenizer.json"},
		{"dropout", model("dropout", 0.1), "model.dropout is 0.1"},
		{"prefix", model("continuing_subword_prefix", "##"), "continuing_subword_prefix"},
		{"suffix", model("end_of_word_suffix", "</w>"), "end_of_word_suffix"},
		{"no vocab", model("vocab", object{}), "model.vocab is missing or empty"},
		{"null vocab", model("vocab", nil), "vocab is null"},
		{"vocab list", model("vocab", []any{"a"}), "expected an object"},
		{"huge id", vocab("new", 1<<40), `the id of token "new" is 1099511627776`},
		{"id over the limit", vocab("new", maxID+1), "expected a whole number from 0 to 4194303"},
		{"negative id", vocab("new", -1), `the id of token "new" is -1`},
		{"fraction id", vocab("new", 1.5), `the id of token "new" is 1.5`},
		{"string id", vocab("new", "7"), `the id of token "new" is 7`},
		{"object id", vocab("new", object{}), `the id of token "new" is {`},
		{"shared id", vocab("new", 64), `tokens "a" and "new" share the id 64`},
		{"empty token", vocab("", 64), "empty token"},
		{"byte missing", func(m object) { delete(m["model"].(object)["vocab"].(object), "Ġ") }, "no token \"Ġ\" for byte 0x20"},
		{"no merges", model("merges", nil), "model.merges is missing"},
		{"merges object", model("merges", object{}), "model.merges is neither"},
		{"merges numbers", model("merges", []any{1}), "model.merges is neither"},
		{"merge of one", model("merges", []any{"ab"}), `model.merges[0] is "ab"`},
		{"merge of three", model("merges", []any{"a b c"}), "expected two tokens"},
		{"merge pair of one", model("merges", []any{[]any{"a"}}), "model.merges[0] has 1 tokens"},
		{"merge of unknown", model("merges", []any{"zzz a"}), `no token "zzz"`},
		{"merge to unknown", model("merges", []any{"z z"}), `no token "zz"`},
		{"merge twice", model("merges", []any{"h e", "h e"}), `merges[0] and merges[1] both join "h" and "e"`},
		{"normalizer", top("normalizer", object{"type": "Lowercase"}), `normalizer.type is "Lowercase"`},
		{"normalizer string", top("normalizer", "NFC"), "normalizer"},
		{"no pre-tokenizer", top("pre_tokenizer", nil), "pre_tokenizer is missing"},
		{"other pre-tokenizer", top("pre_tokenizer", object{"type": "Whitespace"}), `pre_tokenizer is of type "Whitespace"`},
		{"pre-tokenizer string", top("pre_tokenizer", "x"), "pre_tokenizer"},
		{"other pattern", pre(0, "pattern", object{"Regex": `\w+`}), "unknown split pattern"},
		{"behavior", pre(0, "behavior", "Removed"), `behavior "Removed"`},
		{"invert", pre(0, "invert", true), "invert true"},
		{"prefix space", pre(1, "add_prefix_space", true), "add_prefix_space false"},
		{"use regex", pre(1, "use_regex", true), "use_regex false"},
		{"no decoder", top("decoder", nil), "decoder is missing"},
		{"other decoder", top("decoder", object{"type": "WordPiece"}), `decoder.type is "WordPiece"`},
		{"decoder string", top("decoder", "x"), "decoder"},
		{"added no list", top("added_tokens", 3), "added_tokens"},
		{"added empty", top("added_tokens", []any{object{"id": 400}}), "added_tokens[0] is empty"},
		{"added twice", top("added_tokens", []any{object{"id": 400, "content": "x1"}, object{"id": 401, "content": "x1"}}), "twice"},
		{"added shared id", top("added_tokens", []any{object{"id": 400, "content": "x1"}, object{"id": 400, "content": "x2"}}), "share the id 400"},
		{"added on vocabulary", top("added_tokens", []any{object{"id": 64, "content": "x1"}}), `"a" and "x1" share the id 64`},
		{"added other id", top("added_tokens", []any{object{"id": 400, "content": "a"}}), `gives "a" the id 400, the vocabulary 64`},
		{"added huge", top("added_tokens", []any{object{"id": 1 << 30, "content": "x1"}}), `the id of "x1" is 1073741824`},
		{"added negative", top("added_tokens", []any{object{"id": -5, "content": "x1"}}), `the id of "x1" is -5`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(change(t, c.edit))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	for text, want := range map[string]string{
		"":                                  "not a tokenizer.json",
		"\xff":                              "not valid UTF-8",
		"[]":                                "not a tokenizer.json",
		"{} x":                              "text follows",
		"{}":                                "model.vocab is missing",
		`{"model":{"vocab":{"a":1,"a":2}}}`: `lists token "a" twice`,
		`{"model":{"vocab":{"a":`:           "not a tokenizer.json",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	want := loadTest(t).Encode("The picture e\u0301")
	for name, data := range map[string][]byte{
		"no type": change(t, func(m map[string]any) { delete(m["model"].(map[string]any), "type") }),
		"normalizer list": change(t, func(m map[string]any) {
			m["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "NFC"}}}
		}),
		"no added tokens":  change(t, func(m map[string]any) { delete(m, "added_tokens") }),
		"truncation kept":  change(t, func(m map[string]any) { m["truncation"] = map[string]any{"max_length": 2} }),
		"null affixes":     change(t, func(m map[string]any) { m["model"].(map[string]any)["end_of_word_suffix"] = nil }),
		"zero dropout":     change(t, func(m map[string]any) { m["model"].(map[string]any)["dropout"] = 0.0 }),
		"an unknown token": change(t, func(m map[string]any) { m["model"].(map[string]any)["unk_token"] = "<unk>" }),
	} {
		tok, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := tok.Encode("The picture e\u0301"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if back, err := Parse(tok.JSON()); err != nil || string(back.JSON()) != string(tok.JSON()) {
			t.Errorf("%s: written and read back: %v", name, err)
		}
	}
	none, err := Parse(change(t, func(m map[string]any) { m["normalizer"] = nil }))
	if err != nil {
		t.Fatal(err)
	}
	if got := none.Decode(none.Encode("e\u0301"), false); got != "e\u0301" {
		t.Errorf("without a normalizer %q came back", got)
	}
}
