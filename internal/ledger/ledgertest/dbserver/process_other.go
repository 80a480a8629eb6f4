//go:build !unix

package dbserver

import "time"

// process is not known here: servers are given by the environment.
type process struct{ port int }

func newProcess(Kind, string) (*process, error) { return nil, errAbsent }

func (*process) start() error       { return errAbsent }
func (*process) stop() error        { return errAbsent }
func (*process) kill()              {}
func (*process) freeze()            {}
func (*process) thaw()              {}
func (*process) remove()            {}
func (*process) running() bool      { return false }
func (*process) answers() bool      { return false }
func (*process) cpu() time.Duration { return 0 }
func (*process) data() string       { return "" }
func (*process) tail() string       { return "" }
