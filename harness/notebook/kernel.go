package notebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/go-zeromq/zmq4"
)

// Limits of the conversation with a kernel.
const (
	startTimeout    = 60 * time.Second       // until the kernel answers the first request
	dialEvery       = 50 * time.Millisecond  // between attempts to reach a socket
	askEvery        = 100 * time.Millisecond // between requests while waiting for readiness
	interruptGrace  = 7 * time.Second        // gonb itself kills an interrupted program after 5 s
	interruptEvery  = time.Second            // between interrupts: gonb drops one that comes before the command it is meant for has begun
	endGrace        = 10 * time.Second       // for the end of a process whose sockets are closed, or that was killed
	shutdownTimeout = 10 * time.Second
	startAttempts   = 3 // the free ports we found may be taken by somebody else
)

// kernelConfig says how to start a kernel.
type kernelConfig struct {
	argv []string // the connection file replaces "{connection_file}"
	env  []string
	dir  string // working folder
	log  string // file that receives the kernel's own output
}

// kernel is a running kernel and the sockets to it.
type kernel struct {
	session string
	key     []byte
	temp    string // connection file and the kernel's temporary folder
	process *os.Process
	died    chan struct{} // closed when the process has ended
	endText string        // how it ended; read after died is closed

	cancel                context.CancelFunc // ends the sockets
	shell, control, stdin zmq4.Socket
	iopub                 zmq4.Socket
	in                    chan received
}

// channel names a socket.
type channel string

const (
	chanShell   channel = "shell"
	chanControl channel = "control"
	chanStdin   channel = "stdin"
	chanIOPub   channel = "iopub"
)

// received is a message, or the error that ended a socket.
type received struct {
	from channel
	msg  *message
	err  error
}

// startKernel starts a kernel and waits until it answers and publishes.
func startKernel(ctx context.Context, cfg kernelConfig) (*kernel, error) {
	var err error
	for range startAttempts {
		var k *kernel
		if k, err = tryKernel(ctx, cfg); err == nil {
			return k, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, err
}

func tryKernel(ctx context.Context, cfg kernelConfig) (*kernel, error) {
	temp, err := newTemp()
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	k := &kernel{session: randomID(), key: []byte(randomID()), temp: temp, in: make(chan received, 1024), died: make(chan struct{})}
	sockets, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	ctx, done := context.WithTimeout(ctx, startTimeout)
	defer done()
	if err := k.start(ctx, sockets, cfg); err != nil {
		k.kill()
		return nil, fmt.Errorf("notebook: starting the kernel %s: %w; its log is %s%s", cfg.argv[0], err, cfg.log, lastLog(cfg.log))
	}
	return k, nil
}

// start goes through the phases of a start; an error names its phase.
func (k *kernel) start(ctx, sockets context.Context, cfg kernelConfig) error {
	addr, file, err := k.writeConnection()
	if err != nil {
		return fmt.Errorf("choosing ports: %w", err)
	}
	if err := k.spawn(cfg, file); err != nil {
		return fmt.Errorf("running the program: %w", err)
	}
	if err := k.dial(ctx, sockets, addr); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if err := k.awaitReady(ctx); err != nil {
		return fmt.Errorf("waiting for the first answer: %w", err)
	}
	return nil
}

// writeConnection chooses free ports and writes the file that tells the kernel
// about them. It returns the sockets' addresses.
func (k *kernel) writeConnection() (map[channel]string, string, error) {
	names := []string{"shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"}
	info := map[string]any{
		"transport": "tcp", "ip": "127.0.0.1", "key": string(k.key),
		"signature_scheme": "hmac-sha256", "kernel_name": "gonb",
	}
	// All ports are held until all are found, so that they differ.
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		defer l.Close()
		info[name] = l.Addr().(*net.TCPAddr).Port
	}
	data, err := json.Marshal(info)
	if err != nil {
		return nil, "", err
	}
	// gonb reads the kernel's id from a name of this form.
	file := filepath.Join(k.temp, "kernel-"+randomID()+".json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, "", err
	}
	at := func(name string) string { return fmt.Sprintf("tcp://127.0.0.1:%d", info[name]) }
	return map[channel]string{
		chanShell: at("shell_port"), chanIOPub: at("iopub_port"), chanStdin: at("stdin_port"), chanControl: at("control_port"),
	}, file, nil
}

// spawn starts the process in its own group and watches for its end.
func (k *kernel) spawn(cfg kernelConfig, connection string) error {
	logFile, err := os.Create(cfg.log)
	if err != nil {
		return err
	}
	defer logFile.Close() // the process has its own descriptor
	var args []string
	for _, a := range cfg.argv[1:] {
		args = append(args, strings.ReplaceAll(a, "{connection_file}", connection))
	}
	cmd := exec.Command(cfg.argv[0], args...)
	// The kernel's program folders and pipes then go away with ours, whatever
	// happens to the kernel.
	cmd.Env = append(cfg.env, "TMPDIR="+k.temp)
	cmd.Dir, cmd.Stdout, cmd.Stderr = cfg.dir, logFile, logFile
	cmd.SysProcAttr = processGroup()
	started := make(chan error)
	go func() {
		// A parent-death signal comes when the starting thread ends, so this
		// thread must live as long as the kernel.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // ProcessState says more than the error
		k.endText = cmd.ProcessState.String()
		close(k.died)
	}()
	if err := <-started; err != nil {
		return err
	}
	k.process = cmd.Process
	return nil
}

// dial connects the sockets and starts one receiving goroutine for each.
func (k *kernel) dial(ctx, sockets context.Context, addr map[channel]string) error {
	id := zmq4.SocketIdentity(k.session)
	// A kernel asks for input at the identity of the socket that the request
	// came from, so shell and stdin share it.
	opts := []zmq4.Option{zmq4.WithID(id), zmq4.WithDialerMaxRetries(0), zmq4.WithLogger(log.New(io.Discard, "", 0))}
	k.shell = zmq4.NewDealer(sockets, opts...)
	k.control = zmq4.NewDealer(sockets, opts...)
	k.stdin = zmq4.NewDealer(sockets, opts...)
	k.iopub = zmq4.NewSub(sockets, opts...)
	if err := k.iopub.SetOption(zmq4.OptionSubscribe, ""); err != nil {
		return err
	}
	for _, s := range []struct {
		name channel
		sock zmq4.Socket
	}{{chanShell, k.shell}, {chanControl, k.control}, {chanStdin, k.stdin}, {chanIOPub, k.iopub}} {
		if err := k.dialOne(ctx, s.sock, addr[s.name]); err != nil {
			return fmt.Errorf("%s socket: %w", s.name, err)
		}
		go k.receive(sockets, s.name, s.sock)
	}
	return nil
}

func (k *kernel) dialOne(ctx context.Context, sock zmq4.Socket, addr string) error {
	for {
		result := make(chan error, 1)
		go func() { result <- sock.Dial(addr) }()
		var err error
		select {
		case err = <-result:
		case <-k.died:
			// Somebody else may have the port, and never answer.
			return fmt.Errorf("the kernel ended: %s", k.endText)
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s within %v", addr, startTimeout)
		}
		if err == nil {
			return nil
		}
		select {
		case <-k.died:
			return fmt.Errorf("the kernel ended: %s", k.endText)
		case <-ctx.Done():
			return err
		case <-time.After(dialEvery):
		}
	}
}

func (k *kernel) receive(ctx context.Context, from channel, sock zmq4.Socket) {
	for {
		r := received{from: from}
		raw, err := sock.Recv()
		if err == nil {
			r.msg, err = decode(k.key, raw.Frames)
		}
		r.err = err
		select {
		case k.in <- r:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// send sends a request and returns its id.
func (k *kernel) send(sock zmq4.Socket, msgType string, content any) (string, error) {
	h := newHeader(k.session, msgType)
	frames, err := encode(k.key, h, content)
	if err != nil {
		return "", fmt.Errorf("notebook: request %q: %w", msgType, err)
	}
	if err := sock.SendMulti(zmq4.NewMsgFrom(frames...)); err != nil {
		return "", fmt.Errorf("notebook: request %q: %w", msgType, err)
	}
	return h.ID, nil
}

// awaitReady asks until the answer to one of our own requests comes on iopub:
// a subscription takes effect some time after the connection, and what is
// published before is lost.
func (k *kernel) awaitReady(ctx context.Context) error {
	asked := map[string]bool{}
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		id, err := k.send(k.shell, "kernel_info_request", map[string]any{})
		if err != nil {
			return err
		}
		asked[id] = true
		for waiting := true; waiting; {
			select {
			case r := <-k.in:
				if r.err != nil {
					return fmt.Errorf("%s socket: %w", r.from, r.err)
				}
				if r.from == chanIOPub && asked[r.msg.parent.ID] && isIdle(r.msg) {
					return nil
				}
			case <-ticker.C:
				waiting = false
			case <-k.died:
				return fmt.Errorf("the kernel ended: %s", k.endText)
			case <-ctx.Done():
				return fmt.Errorf("the kernel did not answer within %v", startTimeout)
			}
		}
	}
}

// lastLog is what a kernel wrote last into its log, as the end of an error's line.
func lastLog(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(ansiCodes.ReplaceAllString(string(data), "")), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" {
		return ", which is empty"
	}
	return ", which ends: " + last
}

// isIdle reports whether m says that its request is done with.
func isIdle(m *message) bool {
	var s struct {
		State string `json:"execution_state"`
	}
	return m.header.Type == "status" && json.Unmarshal(m.content, &s) == nil && s.State == "idle"
}

// shutdown asks the kernel to end, waits, and kills what is left.
func (k *kernel) shutdown() {
	if _, err := k.send(k.control, "shutdown_request", map[string]any{"restart": false}); err == nil {
		select {
		case <-k.died:
		case <-time.After(shutdownTimeout):
		}
	}
	k.kill()
}

// kill ends the kernel's whole process group (a cell's program and background
// commands belong to it) and removes the temporary folder.
func (k *kernel) kill() {
	if k.process != nil {
		killGroup(k.process)
		<-k.died
	}
	k.cancel()
	for _, s := range []zmq4.Socket{k.shell, k.control, k.stdin, k.iopub} {
		if s != nil {
			_ = s.Close() // the peer is gone
		}
	}
	// Processes that were just killed may still be writing.
	for begin := time.Now(); os.RemoveAll(k.temp) != nil && time.Since(begin) < endGrace; {
		time.Sleep(dialEvery)
	}
}

// errDied is the reason of a cell during which the kernel's process ended.
var errDied = errors.New("the kernel died")
