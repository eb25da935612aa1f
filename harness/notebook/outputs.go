package notebook

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// displays remembers which outputs have which display id. It lives as long as
// the kernel: a later cell may update what an earlier one showed.
type displays map[string][]Output

// collector turns the messages of one cell's execution into nbformat outputs.
type collector struct {
	displays   displays
	outputs    []Output
	clearLater bool

	stdout, stderr strings.Builder
	shellFailures  []string // exit texts of failed shell commands
	unknown        []string // complaints about unknown % commands
}

// add takes one message that the kernel published for the cell.
func (c *collector) add(m *message) error {
	var err error
	switch m.header.Type {
	case "stream":
		err = c.stream(m.content)
	case "display_data", "execute_result", "update_display_data":
		err = c.display(m.content)
	case "error":
		var e kernelError
		if err = json.Unmarshal(m.content, &e); err == nil {
			c.push(e.output())
		}
	case "clear_output":
		var content struct {
			Wait bool `json:"wait"`
		}
		if err = json.Unmarshal(m.content, &content); err == nil {
			c.clearLater = content.Wait
			if !content.Wait {
				c.outputs = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("message %q: %w", m.header.Type, err)
	}
	return nil
}

func (c *collector) push(o Output) {
	if c.clearLater {
		c.outputs, c.clearLater = nil, false
	}
	c.outputs = append(c.outputs, o)
}

func (c *collector) stream(content json.RawMessage) error {
	var s struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return err
	}
	if s.Name == "stdout" {
		c.stdout.WriteString(s.Text)
	} else {
		c.stderr.WriteString(s.Text)
		c.kernelRemark(s.Text)
	}
	if n := len(c.outputs); n > 0 && !c.clearLater {
		last := c.outputs[n-1]
		if last["output_type"] == "stream" && last["name"] == s.Name {
			text, _ := joined(last["text"])
			last["text"] = lines(text + s.Text)
			return nil
		}
	}
	c.push(Output{"output_type": "stream", "name": s.Name, "text": lines(s.Text)})
	return nil
}

func (c *collector) display(content json.RawMessage) error {
	var d struct {
		Data      map[string]any `json:"data"`
		Metadata  map[string]any `json:"metadata"`
		Transient struct {
			ID string `json:"display_id"`
		} `json:"transient"`
	}
	if err := json.Unmarshal(content, &d); err != nil {
		return err
	}
	for mime, v := range d.Data {
		if s, ok := v.(string); ok && (strings.HasPrefix(mime, "text/") || mime == "image/svg+xml") {
			d.Data[mime] = lines(s)
		}
	}
	if d.Metadata == nil {
		d.Metadata = map[string]any{} // nbformat wants an object, not null
	}
	id := d.Transient.ID
	if known := c.displays[id]; id != "" && len(known) > 0 {
		for _, o := range known {
			o["data"], o["metadata"] = maps.Clone(d.Data), maps.Clone(d.Metadata)
		}
		return nil
	}
	o := Output{"output_type": "display_data", "data": d.Data, "metadata": d.Metadata}
	c.push(o)
	if id != "" {
		c.displays[id] = append(c.displays[id], o)
	}
	return nil
}

// kernelError is the content of an "error" message and of a failed reply.
type kernelError struct {
	Name      string   `json:"ename"`
	Value     string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

func (e kernelError) output() Output {
	trace := make([]any, len(e.Traceback))
	for i, s := range e.Traceback {
		trace[i] = s
	}
	return Output{"output_type": "error", "ename": e.Name, "evalue": e.Value, "traceback": trace}
}
