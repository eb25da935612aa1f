// Package notebook runs Go notebooks without Jupyter, and installs what a
// notebook needs.
//
// The kernel is gonb, built from the module in tools/ into .bin/ of the
// checkout. [Run] starts one kernel per notebook, speaks Jupyter's messaging
// protocol 5.3 with it over ZeroMQ
// (https://jupyter-client.readthedocs.io/en/latest/messaging.html), executes
// the code cells in order and writes the executed copy. [Open] starts Jupyter
// for a person; [InstallSpec] makes the kernel known to other front ends.
//
// A run is stricter than Jupyter's nbconvert, which calls a notebook fine whose
// shell commands failed or whose figures are missing. A cell fails here when
//
//   - it does not compile, panics, or ends with another exit code than 0,
//   - a shell command in it ("!cmd", "%%sh") ends with another exit code than 0,
//   - it holds an unknown "%" command,
//   - it asks for input,
//   - it takes longer than the limit,
//   - it is the setup cell and the setup script did not report success,
//   - it shows a PNG image that cannot be decoded,
//   - it has one of the tags "figure", "table" or "display" in its metadata and
//     did not show a PNG image, an HTML table, or anything at all.
//
// The first failure ends a notebook; the executed copy, with the error in the
// cell's output, is written all the same.
//
// # Caveats
//
// The order of text and rich output within a cell is not defined: they reach
// the kernel on different pipes. gonb runs on Linux and macOS.
package notebook
