module github.com/cstproxy/cstproxy/deploy/check/observe

go 1.26.0
