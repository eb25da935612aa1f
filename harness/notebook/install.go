package notebook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/display"
)

const (
	// kernelName is the name under which front ends find the kernel; notebooks
	// hold it in their metadata.
	kernelName = "gonb"
	// SetupCell is the first code cell of every notebook. It turns off the
	// kernel's automatic downloads and lets cells import this module's packages
	// from the checkout. It also works with a kernel of another origin, as long
	// as the notebook lies in notebooks/.
	SetupCell = "%noautoget\n!*sh \"${TLQ_ROOT:-$GONB_DIR/..}/notebooks/setup.sh\""
	// setupScript is how a setup cell is recognized.
	setupScript = "notebooks/setup.sh"
	// setupReport begins the line that the setup script prints when it is done.
	setupReport = "cells use "
	// aptLine installs what [Open] needs, on Debian and its relatives.
	aptLine = "sudo apt-get install -y --no-install-recommends jupyter-notebook"
)

// tools are the programs that Install builds from tools/go.mod. The kernel
// needs goimports for every cell.
var tools = []string{"gonb", "goimports"}

func gonbPath(root string) string { return filepath.Join(root, ".bin", "gonb") }

// checkRoot returns root as an absolute path if it is a checkout.
func checkRoot(root string) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("notebook: %w", err)
	}
	for _, file := range []string{"go.mod", filepath.Join("tools", "go.mod"), filepath.Join("notebooks", "setup.sh")} {
		if _, err := os.Stat(filepath.Join(abs, file)); err != nil {
			return "", fmt.Errorf("notebook: %s is not a checkout of this project: it has no %s; notebooks need the sources", abs, file)
		}
	}
	return abs, nil
}

// checkTools reports a missing kernel.
func checkTools(root string) error {
	for _, t := range tools {
		if _, err := os.Stat(filepath.Join(root, ".bin", t)); err != nil {
			return fmt.Errorf("notebook: no %s in %s; install it with ./tlq notebook install", t, filepath.Join(root, ".bin"))
		}
	}
	return nil
}

// Install builds the kernel and goimports into .bin/ of the checkout, builds
// all packages so that the first cells need not, and writes the kernel's
// specification into .jupyter/. What is up to date costs a second. It needs the
// Go module proxy where the tools' modules are not in the module cache yet.
func Install(ctx context.Context, root string) error {
	root, err := checkRoot(root)
	if err != nil {
		return err
	}
	p := display.NewProgress("notebook kernel", 2)
	defer p.Done()
	p.Set(0, "building gonb and goimports")
	env, gobin := plainEnviron(), "GOBIN="+filepath.Join(root, ".bin")
	if err := goCommand(ctx, root, append(slices.Clone(env), gobin), "-C", "tools", "install", "tool"); err != nil {
		return fmt.Errorf("notebook: installing the kernel: %w", err)
	}
	p.Set(1, "building the packages that cells use")
	if err := goCommand(ctx, root, env, "build", "./..."); err != nil {
		return fmt.Errorf("notebook: building the packages: %w", err)
	}
	p.Set(2, "")
	return writeSpec(filepath.Join(root, ".jupyter", "kernels", kernelName), root)
}

// goCommand runs the go command in root. Its error holds the first thing that
// the command complained about.
func goCommand(ctx context.Context, root string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("no go command in PATH; install Go from https://go.dev/dl")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, complaint(out.String()))
	}
	return nil
}

// complaint returns the first line of the go command's output that is neither a
// package heading nor news about a download.
func complaint(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "go: downloading") {
			return line
		}
	}
	return "no message"
}

// plainEnviron is the environment without the settings that would make go
// build something else than this checkout as it is.
func plainEnviron() []string {
	return append(without(os.Environ(), "GOFLAGS", "GOWORK", "GOBIN", "GOOS", "GOARCH"), "GOWORK=off", "GOFLAGS=-buildvcs=false")
}

// without returns env without the variables named.
func without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(names, name)
	})
}

// kernelEnv holds what cells need beyond the user's environment: nothing is
// downloaded, no foreign workspace or build flags, stripped (so quickly linked)
// programs. PATH is written for Jupyter, which expands it.
func kernelEnv(root string) map[string]string {
	return map[string]string{
		"PATH":     filepath.Join(root, ".bin") + string(os.PathListSeparator) + "${PATH}",
		"GOWORK":   "off",
		"GOPROXY":  "off",
		"GOFLAGS":  "-buildvcs=false '-ldflags=-s -w'",
		"TLQ_ROOT": root,
	}
}

// kernelEnviron is the environment of a kernel that we start ourselves.
func kernelEnviron(root string) []string {
	env := os.Environ()
	for name, value := range kernelEnv(root) {
		env = append(without(env, name), name+"="+strings.ReplaceAll(value, "${PATH}", os.Getenv("PATH")))
	}
	return without(env, "GONB_DIR", "GONB_TMP_DIR", "GONB_PIPE", "GONB_PIPE_BACK", "GOOS", "GOARCH", "TMPDIR")
}

// spec is Jupyter's kernel specification, kernel.json.
type spec struct {
	Argv          []string          `json:"argv"`
	DisplayName   string            `json:"display_name"`
	Language      string            `json:"language"`
	InterruptMode string            `json:"interrupt_mode"`
	Env           map[string]string `json:"env"`
}

// writeSpec writes kernel.json into dir. Without -raw_error the kernel shows
// compile errors as HTML with their context, which suits a browser.
func writeSpec(dir, root string) error {
	s := spec{
		Argv:        []string{gonbPath(root), "--kernel", "{connection_file}"},
		DisplayName: "Go (" + filepath.Base(root) + ")", Language: "go", InterruptMode: "message",
		Env: map[string]string{},
	}
	for name, value := range kernelEnv(root) {
		// Jupyter substitutes $NAME in values; a dollar in our path is none.
		path := strings.ReplaceAll(root, "$", "$$")
		s.Env[name] = strings.ReplaceAll(value, root, path)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("notebook: kernel specification: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("notebook: kernel specification: %w", err)
	}
	return writeFile(filepath.Join(dir, "kernel.json"), buf.Bytes(), 0o644)
}

// InstallSpec makes the checkout's kernel known to all of the user's Jupyter
// front ends and editors, and returns the file that it wrote. It does not
// replace a specification that another program or checkout has put there.
func InstallSpec(root string) (string, error) {
	root, err := checkRoot(root)
	if err != nil {
		return "", err
	}
	data, err := jupyterData()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(data, "kernels", kernelName)
	file := filepath.Join(dir, "kernel.json")
	if old, err := os.ReadFile(file); err == nil {
		var s spec
		if json.Unmarshal(old, &s) != nil || len(s.Argv) == 0 || s.Argv[0] != gonbPath(root) {
			return "", fmt.Errorf("notebook: %s belongs to another installation; remove it, or use ./tlq notebook open, which needs none", file)
		}
	}
	if err := writeSpec(dir, root); err != nil {
		return "", err
	}
	return file, nil
}

// jupyterData returns the user's Jupyter data folder.
func jupyterData() (string, error) {
	if dir := os.Getenv("JUPYTER_DATA_DIR"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("notebook: Jupyter's data folder: %w; set JUPYTER_DATA_DIR", err)
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Jupyter"), nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "jupyter"), nil
	}
	return filepath.Join(home, ".local", "share", "jupyter"), nil
}

// Open starts Jupyter in the place of this process, with the checkout's kernel,
// on file, or on the notebooks folder when file is empty. It returns only when
// it cannot: where Jupyter isn't installed, the error names the command that
// installs it.
func Open(ctx context.Context, root, file string) error {
	root, err := checkRoot(root)
	if err != nil {
		return err
	}
	if file == "" {
		file = filepath.Join(root, "notebooks")
	} else if _, err := Read(file); err != nil {
		return err
	}
	program := ""
	for _, name := range []string{"jupyter-notebook", "jupyter-lab"} {
		if program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if program == "" {
		return errors.New("notebook: Jupyter is not installed (no jupyter-notebook or jupyter-lab in PATH); on Debian or Ubuntu: " + aptLine)
	}
	if err := Install(ctx, root); err != nil {
		return err
	}
	argv := []string{program, file}
	if os.Geteuid() == 0 {
		argv = append(argv, "--allow-root") // Jupyter refuses root otherwise
	}
	env := os.Environ()
	for name, dir := range map[string]string{"PATH": filepath.Join(root, ".bin"), "JUPYTER_PATH": filepath.Join(root, ".jupyter")} {
		if old := os.Getenv(name); old != "" {
			dir += string(os.PathListSeparator) + old
		}
		env = append(without(env, name), name+"="+dir)
	}
	return fmt.Errorf("notebook: starting %s: %w", program, replaceProcess(program, argv, env))
}
