/* The loop of a broadcast: one send for each connection. `fan_out.py` has the same loop in Python, for where this one
   was not built, and says what it returns. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <sys/socket.h>

#define NOT_NOW (-1)
#define BROKEN (-2)

static PyObject *fd_name;

static ssize_t write_to_one(PyObject *connection, const char *data, size_t size, int *failed) {
    PyObject *number = PyObject_GetAttr(connection, fd_name);
    if (number == NULL) {
        *failed = 1;
        return 0;
    }
    long fd = PyLong_AsLong(number);
    Py_DECREF(number);
    if (fd < 0) {
        *failed = PyErr_Occurred() != NULL;
        return NOT_NOW;
    }
    /* It never waits, so no other thread needs the interpreter meanwhile. */
    ssize_t sent = send((int)fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
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
    PyObject *connections = arguments[0];
    const char *data = PyBytes_AS_STRING(arguments[1]);
    Py_ssize_t size = PyBytes_GET_SIZE(arguments[1]);
    PyObject *rest = PyList_New(0);
    if (rest == NULL)
        return NULL;
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(connections); place++) {
        int failed = 0;
        ssize_t sent = write_to_one(PyList_GET_ITEM(connections, place), data, (size_t)size, &failed);
        if (failed || (sent != size && note(rest, place, sent) < 0)) {
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

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_fan_out", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__fan_out(void) {
    fd_name = PyUnicode_InternFromString("fd");
    return fd_name == NULL ? NULL : PyModule_Create(&definition);
}
