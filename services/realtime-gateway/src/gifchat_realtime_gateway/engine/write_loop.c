/* The loop of a broadcast: one send per connection. `write_loop.py` has the same loop in Python, for installations
   without a C compiler, and documents the return value. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stddef.h>
#include <structmember.h>
#include <sys/socket.h>

#define NOT_WRITABLE (-1)
#define BROKEN (-2)

/* In a large room, cache misses cost as much time as system calls. So the loop reads only one field of a connection,
   and prefetches it this many connections ahead. */
#define PREFETCH_DISTANCE 4

typedef struct {
    PyObject_HEAD
    int fd;
} Sink;

static PyObject *new_sink(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    (void)args, (void)keywords;
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
        return NOT_WRITABLE;
    /* The send never blocks, so it keeps the GIL. */
    ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : BROKEN;
}

static int append_result(PyObject *incomplete, Py_ssize_t index, ssize_t sent) {
    PyObject *result = Py_BuildValue("(nn)", index, (Py_ssize_t)sent);
    if (result == NULL)
        return -1;
    int status = PyList_Append(incomplete, result);
    Py_DECREF(result);
    return status;
}

static PyObject *write_all(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyList_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "write_all takes a list and bytes");
        return NULL;
    }
    PyObject *sinks = args[0];
    const char *data = PyBytes_AS_STRING(args[1]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    PyObject *incomplete = PyList_New(0);
    if (incomplete == NULL)
        return NULL;
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(sinks); index++) {
        PyObject *sink = PyList_GET_ITEM(sinks, index);
        if (index + PREFETCH_DISTANCE < PyList_GET_SIZE(sinks))
            __builtin_prefetch(PyList_GET_ITEM(sinks, index + PREFETCH_DISTANCE));
        if (!PyObject_TypeCheck(sink, &sink_type)) {
            PyErr_Format(PyExc_TypeError, "cannot write to a %s", Py_TYPE(sink)->tp_name);
            Py_DECREF(incomplete);
            return NULL;
        }
        ssize_t sent = write_to_one(((Sink *)sink)->fd, data, (size_t)size);
        if (sent != size && append_result(incomplete, index, sent) < 0) {
            Py_DECREF(incomplete);
            return NULL;
        }
    }
    return incomplete;
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
