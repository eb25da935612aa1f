package ptq

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

func mustFind(t testing.TB, name string) Method {
	t.Helper()
	m, err := FindMethod(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMethodsAreValid(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Methods() {
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		if m.Title == "" || m.Paper == "" || names[m.Name] {
			t.Errorf("method %q: title, paper or a name of its own is missing", m.Name)
		}
		names[m.Name] = true
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseMethod(data)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: JSON round trip gave %+v, %v", m.Name, back, err)
		}
	}
	if !strings.Contains(mustFind(t, "tlq").Title, "reconstruction") {
		t.Error("TLQ is not labelled a reconstruction")
	}
}

func TestFindMethod(t *testing.T) {
	_, err := FindMethod("tql")
	if err == nil || !strings.Contains(err.Error(), "rtn, smoothquant, awq, awq-clip, mbq") || !strings.Contains(err.Error(), `did you mean "tlq"`) {
		t.Errorf("got %v", err)
	}
	if _, err := FindMethod("something-else"); err == nil || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("got %v", err)
	}
}

func TestParseMethodIsStrict(t *testing.T) {
	data, _ := json.Marshal(mustFind(t, "tlq"))
	good := string(data)
	for name, text := range map[string]string{
		"unknown key": strings.Replace(good, `"keep"`, `"keeps"`, 1),
		"wrong type":  strings.Replace(good, `"keep":0.25`, `"keep":"0.25"`, 1),
		"bad value":   strings.Replace(good, `"mae"`, `"rmse"`, 1),
		"missing key": strings.Replace(good, `"metric":"mae",`, ``, 1),
		"trailing":    good + "{}",
		"empty":       "",
	} {
		if text == good {
			t.Fatalf("%s: the replacement did nothing", name)
		}
		if _, err := ParseMethod([]byte(text)); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestValidateListsValues(t *testing.T) {
	m := mustFind(t, "tlq")
	m.Tokens.Pool = "modalty"
	err := m.Validate()
	for _, want := range []string{"method tlq", "tokens.pool", `"modalty"`, "sample, modality, global", `did you mean "modality"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not contain %q", err, want)
		}
	}
	own := Importance{Name: "mine", Score: func(v *TokenView) []float32 { return v.Gradient }}
	m = mustFind(t, "tlq")
	m.Tokens.Importance = "mine"
	if m.Validate() == nil {
		t.Error("an importance that nobody knows is valid")
	}
	if m.Tokens.Use(own); m.Validate() != nil || !m.NeedsGradients() {
		t.Errorf("a method that carries its importance: %v", m.Validate())
	}
	// A method from a record names an importance that it can't carry.
	m = mustFind(t, "tlq")
	m.Tokens.Importance = OwnPrefix + "mine@0123"
	if err := m.Validate(); err != nil {
		t.Error(err)
	}
	if err := m.Tokens.checkOwn(); err == nil || !strings.Contains(err.Error(), "function of the program that made the method") {
		t.Errorf("an importance that is not at hand: %v", err)
	}
}

func TestSet(t *testing.T) {
	m := mustFind(t, "tlq")
	for _, s := range []string{
		"tokens.keep=0.5", "tokens.importance=gradient", "search.points=10", "search.sites=qkv,down", "path.expose=none", "title=TLQ = mine",
	} {
		if err := m.Set(s); err != nil {
			t.Error(err)
		}
	}
	if m.Tokens.Keep != 0.5 || m.Tokens.Importance != "gradient" || m.Search.Points != 10 || m.Path.Expose != ExposeNone || m.Title != "TLQ = mine" ||
		!reflect.DeepEqual(m.Search.Sites, []models.Site{models.QKV, models.Down}) {
		t.Errorf("got %+v", m)
	}
	before := m
	for s, want := range map[string]string{
		"tokens.keep":              "KEY=VALUE",
		"tokens.keeep=1":           `did you mean "tokens.keep"`,
		"tokens=1":                 "expected one setting inside it",
		"search.points=1.5":        "an integer",
		"search.points=":           "an integer",
		"tokens.keep=NaN":          "a number",
		"tokens.keep=0,5":          "a number",
		"name.x=1":                 "unknown setting",
		"rounding.act_order=maybe": "true or false",
		"=1":                       "unknown setting",
	} {
		if err := m.Set(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", s, err, want)
		}
	}
	if !reflect.DeepEqual(m, before) {
		t.Error("a refused setting changed the method")
	}
}

// A method's settings, given one by one, make the method; every axis is one of them.
func TestSettings(t *testing.T) {
	for _, m := range Methods() {
		var back Method
		keys := []string{}
		for _, s := range m.Settings() {
			keys = append(keys, s.Key)
			if err := back.Set(s.Key + "=" + s.Value); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
		if !reflect.DeepEqual(back, m) {
			t.Errorf("%s: its settings make %+v", m.Name, back)
		}
		if slices.Sort(keys); !slices.Equal(keys, methodKeys()) {
			t.Errorf("%s lists %v", m.Name, keys)
		}
	}
}

// Settings that belong to another kind, or lack what their kind needs, are
// refused with what is expected.
func TestValidateKinds(t *testing.T) {
	for settings, want := range map[string]string{
		"rounding.kind=gptq":   "rounding.block is 0",
		"rounding.damp=0.1":    "expected none with \"nearest\"",
		"rounding.clip=outptu": "did you mean \"output\"",
		"search.kind=smooth":   "search.alpha is 0",
		"search.alpha=0.5":     "only search.kind \"smooth\"",
		"tokens.keep=1.5":      "expected a fraction",
		"rounding.kind=gptq rounding.block=8 rounding.damp=0.01 rounding.clip=output": "expected none with rounding.kind",
	} {
		if err := with(t, mustFind(t, "tlq"), strings.Fields(settings)...).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", settings, err, want)
		}
	}
}

// Whatever parses is valid and comes back from its JSON; nothing panics.
func FuzzParseMethod(f *testing.F) {
	for _, m := range Methods() {
		data, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "tokens.keep=0.5")
	}
	f.Add([]byte(`{"name":"x","tokens":null}`), "search.sites=qkv,,")
	f.Fuzz(func(t *testing.T, data []byte, setting string) {
		m, err := ParseMethod(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseMethod(again); err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%s became %+v, %v", again, back, err)
		}
		if m.Set(setting) == nil {
			_ = m.Validate()
		}
	})
}
