/* La biblioteca con que Windows da bytes al azar, para Wine, que no la trae (la suya llegó en la 9).
 * La pide la biblioteca estándar de Rust: sin ella ningún programa llega a empezar, ni lo dice. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID donde, ULONG cuantos);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE donde, SIZE_T cuantos)
{
    while (cuantos) {
        ULONG tanda = cuantos > 65536 ? 65536 : (ULONG)cuantos;
        if (!SystemFunction036(donde, tanda))
            return FALSE;
        donde += tanda;
        cuantos -= tanda;
    }
    return TRUE;
}
