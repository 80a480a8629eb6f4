//go:build !unix

package dbserver

// process is not known here: servers are given by the environment.
type process struct{ port int }

func newProcess(Kind) (*process, error) { return nil, errAbsent }

func (*process) start() error { return errAbsent }
func (*process) kill()        {}
func (*process) signal(bool)  {}
func (*process) remove()      {}
func (*process) tail() string { return "" }
