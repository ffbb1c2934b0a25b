/* The loop of a broadcast: one send for each connection. `write_loop.py` has the same in Python, for where this was not
   built, and says what it returns. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/socket.h>

#define NOT_NOW (-1)
#define BROKEN (-2)

/* The loop of a large room waits for memory as much as for the kernel: what it reads of a connection is in one place, and
   fetched while others are written to. */
#define AHEAD 4

typedef struct {
    PyObject_HEAD
    int fd;
} Sink;

static PyObject *new_sink(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    (void)arguments, (void)named;
    Sink *sink = (Sink *)type->tp_alloc(type, 0);
    if (sink != NULL)
        sink->fd = -1;
    return (PyObject *)sink;
}

static PyMemberDef members[] = {
    {"fd", T_INT, offsetof(Sink, fd), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject sink_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "gifchat_realtime_gateway.engine._write_loop.Sink",
    .tp_basicsize = sizeof(Sink),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_members = members,
    .tp_new = new_sink,
};

static ssize_t write_to_one(int fd, const char *data, size_t size) {
    if (fd < 0)
        return NOT_NOW;
    /* It never waits, so no other thread needs the interpreter meanwhile. */
    ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : BROKEN;
}

static int note(PyObject *rest, Py_ssize_t place, ssize_t sent) {
    PyObject *one = Py_BuildValue("(nn)", place, (Py_ssize_t)sent);
    if (one == NULL)
        return -1;
    int outcome = PyList_Append(rest, one);
    Py_DECREF(one);
    return outcome;
}

static PyObject *write_all(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyList_Check(arguments[0]) || !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "write_all takes a list and bytes");
        return NULL;
    }
    PyObject *sinks = arguments[0];
    const char *data = PyBytes_AS_STRING(arguments[1]);
    Py_ssize_t size = PyBytes_GET_SIZE(arguments[1]);
    PyObject *rest = PyList_New(0);
    if (rest == NULL)
        return NULL;
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(sinks); place++) {
        PyObject *sink = PyList_GET_ITEM(sinks, place);
        if (place + AHEAD < PyList_GET_SIZE(sinks))
            __builtin_prefetch(PyList_GET_ITEM(sinks, place + AHEAD));
        if (!PyObject_TypeCheck(sink, &sink_type)) {
            PyErr_Format(PyExc_TypeError, "a %s is not written to", Py_TYPE(sink)->tp_name);
            Py_DECREF(rest);
            return NULL;
        }
        ssize_t sent = write_to_one(((Sink *)sink)->fd, data, (size_t)size);
        if (sent != size && note(rest, place, sent) < 0) {
            Py_DECREF(rest);
            return NULL;
        }
    }
    return rest;
}

static PyMethodDef methods[] = {
    {"write_all", (PyCFunction)(void (*)(void))write_all, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_write_loop", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__write_loop(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddType(module, &sink_type) < 0)
        Py_CLEAR(module);
    return module;
}
