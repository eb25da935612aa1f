
func TestTableLinks(t *testing.T) {
	table := &Table{Columns: []string{"cell", "answers"}, Rows: [][]string{{"a|b", "x"}}, Links: map[[2]int]string{{0, 0}: `samples/a"b.jsonl`, {5, 5}: "nowhere"}}
	if got, want := table.HTML(), `<a href="samples/a&#34;b.jsonl">a|b</a>`; !strings.Contains(got, want) || strings.Count(got, "<a ") != 1 {
		t.Errorf("HTML lacks %s:\n%s", want, got)
	}
	if got, want := table.Markdown(), `| [a\|b](samples/a"b.jsonl) | x |`; !strings.Contains(got, want) {
		t.Errorf("Markdown lacks %s:\n%s", want, got)
	}
}
